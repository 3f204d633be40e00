"""From a PyTorch module to QDQ ONNX: float export, batch-norm fold with codes kept, activation grids, Q/DQ."""
