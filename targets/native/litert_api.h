/* What litert_runner.c calls of LiteRT's C API, as ai-edge-litert 2.3 exports it: the wheel that brings the library has
 * no headers. Functions that read a model take the environment first since then. Each is a pointer that open_library()
 * sets. */
#ifndef EDGEQ_LITERT_API_H
#define EDGEQ_LITERT_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MAX_RANK = 8 };

typedef int Status; /* 0 is success */
typedef struct Environment *Environment;
typedef struct Model *Model;
typedef struct Subgraph *Subgraph;
typedef struct Signature *Signature;
typedef struct Tensor *Tensor;
typedef struct Options *Options;
typedef struct OpaqueOptions *OpaqueOptions;
typedef struct CompiledModel *CompiledModel;
typedef struct Requirements *Requirements;
typedef struct TensorBuffer *TensorBuffer;

typedef struct {
    int element_type;
    struct {
        unsigned int rank : 7;
        bool has_strides : 1;
        int32_t dimensions[MAX_RANK]; /* negative: not known before a run */
        uint32_t strides[MAX_RANK];
    } layout;
} TensorType;
_Static_assert(sizeof(TensorType) == 72, "as in litert_model_types.h");

typedef struct {
    int tag;
    struct {
        int type;
        union {
            int64_t int_value;
            const void *pointer;
        } as;
    } value;
} EnvironmentOption;

enum {
    OPTION_AUTO_REGISTER_ACCELERATORS = 24,
    OPTION_MIN_LOGGER_SEVERITY = 25,
    ANY_INT = 2,
    SEVERITY_ERROR = 3,
    ACCELERATOR_CPU = 1,
    RANKED = 0,
    LOCK_FOR_READING = 0,
    LOCK_FOR_WRITING = 1,
};

/* X(result, name without LiteRt, parameters) */
#define LITERT_FUNCTIONS(X) \
    X(Status, CreateEnvironment, (int, const EnvironmentOption *, Environment *)) \
    X(void, DestroyEnvironment, (Environment)) \
    X(Status, CreateModelFromBuffer, (Environment, const void *, size_t, Model *)) \
    X(void, DestroyModel, (Model)) \
    X(Status, GetNumModelSignatures, (Model, size_t *)) \
    X(Status, GetModelSignature, (Model, size_t, Signature *)) \
    X(Status, GetSignatureSubgraph, (Signature, Subgraph *)) \
    X(Status, GetNumSignatureInputs, (Signature, size_t *)) \
    X(Status, GetSignatureInputTensorByIndex, (Signature, size_t, Tensor *)) \
    X(Status, GetNumSignatureOutputs, (Signature, size_t *)) \
    X(Status, GetSignatureOutputTensorByIndex, (Signature, size_t, Tensor *)) \
    X(Status, GetNumSubgraphInputs, (Subgraph, size_t *)) \
    X(Status, GetSubgraphInput, (Subgraph, size_t, Tensor *)) \
    X(Status, GetNumSubgraphOutputs, (Subgraph, size_t *)) \
    X(Status, GetSubgraphOutput, (Subgraph, size_t, Tensor *)) \
    X(Status, GetTensorTypeId, (Tensor, int *)) \
    X(Status, GetRankedTensorType, (Tensor, TensorType *)) \
    X(Status, CreateOptions, (Options *)) \
    X(void, DestroyOptions, (Options)) \
    X(Status, SetOptionsHardwareAccelerators, (Options, int)) \
    X(Status, CreateOpaqueOptions, (const char *, void *, void (*)(void *), OpaqueOptions *)) \
    X(Status, AddOpaqueOptions, (Options, OpaqueOptions)) \
    X(Status, CreateCompiledModel, (Environment, Model, Options, CompiledModel *)) \
    X(void, DestroyCompiledModel, (CompiledModel)) \
    X(Status, GetCompiledModelInputBufferRequirements, (CompiledModel, size_t, size_t, Requirements *)) \
    X(Status, GetCompiledModelOutputBufferRequirements, (CompiledModel, size_t, size_t, Requirements *)) \
    X(Status, GetTensorBufferRequirementsBufferSize, (Requirements, size_t *)) \
    X(Status, CreateManagedTensorBufferFromRequirements, \
      (Environment, const TensorType *, Requirements, TensorBuffer *)) \
    X(void, DestroyTensorBuffer, (TensorBuffer)) \
    X(Status, LockTensorBuffer, (TensorBuffer, void **, int)) \
    X(Status, UnlockTensorBuffer, (TensorBuffer)) \
    X(Status, RunCompiledModel, (CompiledModel, size_t, size_t, TensorBuffer *, size_t, TensorBuffer *))

#define DECLARE(result, name, parameters) static result(*name) parameters;
LITERT_FUNCTIONS(DECLARE)

#endif
