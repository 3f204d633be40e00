"""Programs under QEMU: counts that can be worked out by hand, regions, repetition, and every way to fail."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from needs import needs_qemu
from transport_checks import gone

from edgeq.bench.profile import Region
from edgeq.bench.qemu import Run, run
from edgeq.bench.toolchain import find_compiler
from edgeq.errors import EdgeqError
from edgeq.targets import Arch

CPUS: dict[Arch, str] = {"aarch64": "cortex-a76", "armhf": "cortex-a7"}
# The C library that the cross compiler links to lies here; no sysroot is needed.
ROOTS: dict[Arch, Path] = {"aarch64": Path("/usr/aarch64-linux-gnu"), "armhf": Path("/usr/arm-linux-gnueabihf")}


pytestmark = needs_qemu
both = pytest.mark.parametrize("arch", list(CPUS))

MARKER = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
#define BEGIN(region) prctl(0x65647165, region, 1, 0, 0)
#define END(region) prctl(0x65647165, region, 0, 0, 0)
/* Two instructions a turn, in A64, A32 and T32 alike. */
#define SPIN(turns) do { unsigned long n = turns; \\
    __asm__ volatile("1: subs %0, %0, #1\\n" "bne 1b\\n" : "+r"(n) : : "cc"); } while (0)
"""
# What a marker's call and return cost, both ends together. Generous: the loops below are far longer.
MARKER_INSTRUCTIONS = 150

Build = Callable[..., Path]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    folder = tmp_path_factory.mktemp("programs")

    def compile_(arch: Arch, name: str, body: str, *flags: str) -> Path:
        source, program = folder / f"{name}-{arch}.c", folder / f"{name}-{arch}"
        source.write_text(MARKER + body)
        subprocess.run([find_compiler(arch), "-O1", "-o", program, source, *flags], check=True, capture_output=True)
        return program

    return compile_


def start(program: Path, arch: Arch, *arguments: str, count: bool = True, timeout_s: float = 60, cpu: str = "") -> Run:
    return run(
        program,
        arguments,
        arch=arch,
        cpu=cpu or CPUS[arch],
        root=ROOTS[arch],
        library_folders=[program.parent],
        count=count,
        timeout_s=timeout_s,
    )


def instructions(region: Region, arch: Arch) -> int:
    """Instructions of a region whose code has four bytes each, or which is Thumb and told apart by its first halfword
    (DDI 0406C, A6.1)."""
    return sum(block.executions * length(block.code, block.instruction_set) for block in region.blocks)


def length(code: bytes, instruction_set: str) -> int:
    if instruction_set != "t32":
        return len(code) // 4
    number = at = 0
    while at < len(code):
        at += 4 if code[at + 1] >= 0xE8 else 2
        number += 1
    return number


@both
def test_counts_are_those_of_the_loop(build: Build, arch: Arch) -> None:
    body = 'int main(void) { BEGIN(0); SPIN(100000); END(0); SPIN(500); puts("done"); return 0; }'
    done = start(build(arch, "loop", body), arch)
    assert done.stdout == "done\n"
    assert done.threads == 1
    (region,) = done.regions
    assert (region.index, region.passes) == (0, 1)
    assert 200_000 <= instructions(region, arch) <= 200_000 + MARKER_INSTRUCTIONS


@both
def test_regions_add_up_over_their_passes_and_leave_out_what_is_between(build: Build, arch: Arch) -> None:
    body = """
    int main(void) {
        for (int i = 0; i < 10; i++) {
            BEGIN(7); SPIN(1000); END(7);
            SPIN(100000);
            BEGIN(3); SPIN(5000); END(3);
        }
        return 0;
    }"""
    regions = start(build(arch, "regions", body), arch).regions
    assert [(region.index, region.passes) for region in regions] == [(3, 10), (7, 10)]
    for region, turns in zip(regions, (5000, 1000), strict=True):
        assert 20 * turns <= instructions(region, arch) <= 20 * turns + 10 * MARKER_INSTRUCTIONS


LIBC = """
static int order(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }
int main(int argc, char **argv) {
    int *values = malloc(4000 * sizeof *values);
    BEGIN(0);
    for (int i = 0; i < 4000; i++) values[i] = rand();
    qsort(values, 4000, sizeof *values, order);
    char text[64];
    for (int i = 0; i < 200; i++) snprintf(text, sizeof text, "%d %g", values[i], values[i] / 7.0);
    END(0);
    puts(text);
    free(values);
    return 0;
}"""


@both
def test_two_runs_are_equal_block_by_block(build: Build, arch: Arch, monkeypatch: pytest.MonkeyPatch) -> None:
    program = build(arch, "libc", LIBC)
    first = start(program, arch)
    monkeypatch.setenv("A_VARIABLE_OF_THE_USER", "x" * 3000)  # it would move the stack
    assert start(program, arch) == first
    assert len(first.regions[0].blocks) > 100


@both
def test_the_length_of_a_path_changes_no_count(build: Build, arch: Arch) -> None:
    body = """
    int main(int argc, char **argv) {
        unsigned char local[8];
        BEGIN(0);
        SPIN(1 + (unsigned long)local % 4096);
        END(0);
        return 0;
    }"""
    program = build(arch, "stack", body)
    first = start(program, arch, "/short").regions
    assert all(start(program, arch, "/" + "long" * length).regions == first for length in (1, 5, 30, 1500))


@both
def test_a_child_of_the_program_leaves_its_counts_alone(build: Build, arch: Arch) -> None:
    body = """
    #include <sys/wait.h>
    int main(void) {
        BEGIN(0); SPIN(1000); END(0);
        if (!fork()) { BEGIN(1); SPIN(9000); END(1); return 0; }
        wait(NULL);
        return 0;
    }"""
    assert [region.index for region in start(build(arch, "forks", body), arch).regions] == [0]


@both
def test_blocks_carry_the_bytes_of_the_file_they_name(build: Build, arch: Arch) -> None:
    program = build(arch, "libc", LIBC)
    blocks = start(program, arch).regions[0].blocks
    assert {Path(block.image).name for block in blocks} >= {program.name, "libc.so.6"}
    for block in blocks:
        assert Path(block.image).read_bytes()[block.offset : block.offset + len(block.code)] == block.code


@both
def test_code_of_a_library_that_is_opened_and_closed_again_is_named(build: Build, arch: Arch) -> None:
    library = build(arch, "library", "void work(void) { SPIN(3000); }", "-shared", "-fPIC")
    body = f"""
    #include <dlfcn.h>
    int main(void) {{
        for (int i = 0; i < 2; i++) {{
            void *library = dlopen("{library.name}", RTLD_NOW);
            if (!library) return 1;
            void (*work)(void) = (void (*)(void))dlsym(library, "work");
            BEGIN(i); work(); END(i);
            dlclose(library);
        }}
        return 0;
    }}"""
    for region in start(build(arch, "opens", body, "-ldl"), arch).regions:
        spinning = [block for block in region.blocks if block.executions > 2000]
        assert [Path(block.image).name for block in spinning] == [library.name]


@both
def test_new_code_at_an_old_address_is_another_block(build: Build, arch: Arch) -> None:
    code = {
        # mov w0, #1 or #2; ret
        "aarch64": "{0x52800020, 0xd65f03c0}, {0x52800040, 0xd65f03c0}",
        # mov r0, #1 or #2; bx lr
        "armhf": "{0xe3a00001, 0xe12fff1e}, {0xe3a00002, 0xe12fff1e}",
    }[arch]
    body = f"""
    #include <sys/mman.h>
    static const unsigned code[2][2] = {{{code}}};
    int main(void) {{
        unsigned *page = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        int sum = 0;
        BEGIN(0);
        for (int i = 0; i < 2; i++) {{
            memcpy(page, code[i], sizeof code[i]);
            __builtin___clear_cache((char *)page, (char *)(page + 2));
            for (int k = 0; k < 100 * (i + 1); k++) sum += ((int (*)(void))page)();
        }}
        END(0);
        printf("%d\\n", sum);
        return 0;
    }}"""
    done = start(build(arch, "changes", body), arch)
    assert done.stdout == "500\n"
    made = sorted(block.executions for block in done.regions[0].blocks if not block.image)
    assert made == [100, 200]
    sets = {block.instruction_set for block in done.regions[0].blocks if not block.image}
    assert sets == {"aarch64": {"a64"}, "armhf": {"a32"}}[arch]


@pytest.mark.parametrize(("flag", "expected"), [("-marm", "a32"), ("-mthumb", "t32")])
def test_arm_and_thumb_are_told_apart(build: Build, flag: str, expected: str) -> None:
    program = build("armhf", f"libc{flag}", LIBC, flag)
    blocks = [block for block in start(program, "armhf").regions[0].blocks if block.image == str(program)]
    # More often than once a value only order() runs; the jump table to the library's functions is ARM in either case.
    assert {block.instruction_set for block in blocks if block.executions > 10_000} == {expected}


@pytest.mark.slow
def test_many_blocks_cost_no_more_than_their_number(build: Build) -> None:
    """32,000 functions, entered in 40 regions' passes, take not much more than four times what 8,000 do."""
    body = """
    #include <sys/mman.h>
    #include <stdlib.h>
    int main(int argc, char **argv) {
        int count = atoi(argv[1]);
        unsigned *page = mmap(0, count * 8, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        for (int i = 0; i < count; i++) { page[2 * i] = 0x52800020; page[2 * i + 1] = 0xd65f03c0; }
        __builtin___clear_cache((char *)page, (char *)(page + 2 * count));
        for (int pass = 0; pass < 40; pass++) {
            BEGIN(pass);
            for (int i = 0; i < count; i++) ((int (*)(void))(page + 2 * i))();
            END(pass);
        }
        return 0;
    }"""
    program = build("aarch64", "many", body)
    processor_s = {}
    for functions in (8_000, 32_000):
        begin = processor_time_s()
        regions = start(program, "aarch64", str(functions), timeout_s=600).regions
        processor_s[functions] = processor_time_s() - begin
        assert len(regions) == 40
        assert all(sum(not block.image for block in region.blocks) == functions for region in regions)
    assert processor_s[32_000] < 8 * processor_s[8_000]  # 16 times, were it quadratic


def processor_time_s() -> float:
    """Of this process and of those it has waited for: the same on a machine that is busy otherwise."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


# --- the guest's surroundings -----------------------------------------------------------------------------------------


def test_the_guest_sees_no_variable_of_the_user(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", "/nowhere.so")
    monkeypatch.setenv("SECRET", "1")
    monkeypatch.setenv("QEMU_STRACE", "1")
    body = "extern char **environ; int main(void) { for (char **e = environ; *e; e++) puts(*e); return 0; }"
    program = build("aarch64", "environment", body)
    done = run(
        program,
        [],
        arch="aarch64",
        cpu="cortex-a76",
        root=ROOTS["aarch64"],
        library_folders=[Path("/a")],
        timeout_s=60,
        environment={"OWN": "yes"},
    )
    names = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert names.pop("OWN") == "yes"
    assert names.pop("LD_LIBRARY_PATH") == "/a"
    assert set(names) == {"LD_BIND_NOW", "LC_ALL", "EDGEQ_FILL"}


def test_a_comma_that_qemu_would_split_is_refused(build: Build) -> None:
    program = build("aarch64", "nothing", "int main(void) { return 0; }")
    with pytest.raises(EdgeqError, match="no comma"):
        run(
            program,
            [],
            arch="aarch64",
            cpu="cortex-a76",
            root=ROOTS["aarch64"],
            timeout_s=60,
            environment={"A": "b,c=d"},
        )


def test_a_folder_with_a_comma_takes_the_counts(build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a,b"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    program = build("aarch64", "comma", "int main(void) { BEGIN(0); END(0); return 0; }")
    assert len(start(program, "aarch64").regions) == 1


# --- failures ---------------------------------------------------------------------------------------------------------


@both
def test_a_timeout_ends_the_program_and_its_children(build: Build, arch: Arch, tmp_path: Path) -> None:
    """The child would go on for ever."""
    sign = tmp_path / "alive"
    body = """
    int main(int argc, char **argv) {
        if (!fork()) { fclose(fopen(argv[1], "w")); for (;;) pause(); }
        for (;;) ;
    }"""
    program = build(arch, "hangs", body)
    for timeout_s in (0.5, 4, 32):  # on a machine so busy that the child had no time to begin, once more with more
        with pytest.raises(EdgeqError, match=rf"took longer than {timeout_s:g} s under QEMU and was ended"):
            start(program, arch, str(sign), timeout_s=timeout_s)
        assert gone(str(sign))
        if sign.exists():
            return
    pytest.fail("the child did not begin")


@both
def test_a_crash_is_one_line(build: Build, arch: Arch) -> None:
    body = 'int main(void) { fputs("about to fall\\n", stderr); *(volatile int *)8 = 1; return 0; }'
    with pytest.raises(EdgeqError, match=r"crashed with SIGSEGV \(got about to fall\)") as caught:
        start(build(arch, "crashes", body), arch)
    assert "\n" not in str(caught.value)


def test_an_instruction_that_the_cpu_lacks_is_named_so(build: Build) -> None:
    body = 'int main(void) { __asm__ volatile(".arch armv8.2-a+dotprod\\nsdot v0.4s, v1.16b, v2.16b"); return 0; }'
    program = build("aarch64", "dot", body)
    assert start(program, "aarch64", count=False).stdout == ""
    with pytest.raises(EdgeqError, match=r"illegal instruction \(SIGILL\).*cortex-a53"):
        start(program, "aarch64", cpu="cortex-a53")


@both
def test_a_failure_tells_the_program_s_last_word(build: Build, arch: Arch) -> None:
    body = 'int main(void) { fputs("first\\nno such model\\n", stderr); return 3; }'
    with pytest.raises(EdgeqError, match=r"failed with exit status 3 \(got no such model\)"):
        start(build(arch, "fails", body), arch)


def test_output_without_end_is_cut_off(build: Build) -> None:
    with pytest.raises(EdgeqError, match="prints too much"):
        start(build("aarch64", "floods", 'int main(void) { for (;;) puts("flood"); }'), "aarch64", count=False)


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("BEGIN(0); BEGIN(1); END(1); END(0);", "begins inside another"),
        ("END(0);", "ends that has not begun"),
        ("BEGIN(0); END(1);", "ends that has not begun"),
        ("BEGIN(0);", "has no end"),
    ],
)
def test_markers_that_do_not_pair_are_refused(build: Build, body: str, fault: str) -> None:
    program = build("aarch64", "unpaired", f"int main(void) {{ {body} return 0; }}")
    with pytest.raises(EdgeqError, match=f"marks its regions wrongly: a region {fault}"):
        start(program, "aarch64")


def test_an_unknown_cpu_is_one_line(build: Build) -> None:
    program = build("aarch64", "nothing", "int main(void) { return 0; }")
    with pytest.raises(EdgeqError, match="cortex-a75") as caught:
        start(program, "aarch64", cpu="cortex-a75")
    assert "\n" not in str(caught.value)
