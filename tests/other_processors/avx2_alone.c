/* Hides AVX-512, VNNI and AMX from the libraries of a process, so that they take their kernels for AVX2.

   Built and preloaded by avx2_alone.py. Linux lets a process refuse the instruction CPUID (arch_prctl, ARCH_SET_CPUID): it
   raises SIGSEGV then. The handler answers in its place, without the bits of these instruction sets. Bits and leaves are
   those of the Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2A, CPUID. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define ARCH_SET_CPUID 0x1012
#define BIT(n) (1u << (n))

static int (*set_action)(int, const struct sigaction *, struct sigaction *);
static struct sigaction others; /* what the program itself wants to do with SIGSEGV, such as Python's faulthandler */

static long allow_cpuid(int allowed) { return syscall(SYS_arch_prctl, ARCH_SET_CPUID, allowed); }

static void hide(unsigned leaf, unsigned subleaf, unsigned *eax, unsigned *ebx, unsigned *ecx, unsigned *edx) {
    if (leaf == 7 && subleaf == 0) {
        /* AVX512F, DQ, IFMA, PF, ER, CD, BW, VL */
        *ebx &= ~(BIT(16) | BIT(17) | BIT(21) | BIT(26) | BIT(27) | BIT(28) | BIT(30) | BIT(31));
        /* AVX512_VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ */
        *ecx &= ~(BIT(1) | BIT(6) | BIT(11) | BIT(12) | BIT(14));
        /* AVX512_4VNNIW, 4FMAPS, VP2INTERSECT; AMX-BF16; AVX512-FP16; AMX-TILE, AMX-INT8 */
        *edx &= ~(BIT(2) | BIT(3) | BIT(8) | BIT(22) | BIT(23) | BIT(24) | BIT(25));
    }
    if (leaf == 7 && subleaf == 1) {
        *eax &= ~(BIT(4) | BIT(5) | BIT(21) | BIT(23));  /* AVX-VNNI, AVX512_BF16, AMX-FP16, AVX-IFMA */
        *edx &= ~(BIT(4) | BIT(5) | BIT(8) | BIT(10) | BIT(19)); /* AVX-VNNI-INT8, NE-CONVERT, AMX-COMPLEX, VNNI-INT16, AVX10 */
    }
}

static void answer(int number, siginfo_t *info, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const unsigned char *code = (const unsigned char *)registers[REG_RIP];
    if (info->si_code == SI_KERNEL && code[0] == 0x0f && code[1] == 0xa2) { /* CPUID */
        unsigned leaf = registers[REG_RAX], subleaf = registers[REG_RCX], eax, ebx, ecx, edx;
        allow_cpuid(1);
        __asm__ volatile("cpuid" : "=a"(eax), "=b"(ebx), "=c"(ecx), "=d"(edx) : "a"(leaf), "c"(subleaf));
        allow_cpuid(0);
        hide(leaf, subleaf, &eax, &ebx, &ecx, &edx);
        registers[REG_RAX] = eax, registers[REG_RBX] = ebx, registers[REG_RCX] = ecx, registers[REG_RDX] = edx;
        registers[REG_RIP] += 2;
    } else if (others.sa_flags & SA_SIGINFO) {
        others.sa_sigaction(number, info, context);
    } else if (others.sa_handler != SIG_DFL && others.sa_handler != SIG_IGN) {
        others.sa_handler(number);
    } else if (info->si_code > 0 || others.sa_handler == SIG_DFL) { /* a fault, or a signal that somebody sent */
        struct sigaction end;
        memset(&end, 0, sizeof end);
        end.sa_handler = SIG_DFL;
        set_action(SIGSEGV, &end, NULL);
        raise(SIGSEGV);
    }
}

/* Both take the place of the C library's: a handler of the program for SIGSEGV comes after the one above. A thread that
   blocks SIGSEGV still ends at its next CPUID. */
int sigaction(int number, const struct sigaction *wanted, struct sigaction *before) {
    if (!set_action) set_action = dlsym(RTLD_NEXT, "sigaction");
    if (number != SIGSEGV) return set_action(number, wanted, before);
    if (before) *before = others;
    if (wanted) others = *wanted;
    return 0;
}

void (*signal(int number, void (*handler)(int)))(int) {
    struct sigaction wanted, before;
    memset(&wanted, 0, sizeof wanted);
    wanted.sa_handler = handler;
    wanted.sa_flags = SA_RESTART;
    return sigaction(number, &wanted, &before) == 0 ? before.sa_handler : SIG_ERR;
}

__attribute__((constructor)) static void begin(void) {
    struct sigaction own;
    memset(&own, 0, sizeof own);
    own.sa_sigaction = answer;
    own.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
    if (!set_action) set_action = dlsym(RTLD_NEXT, "sigaction");
    set_action(SIGSEGV, &own, NULL);
    if (allow_cpuid(0) != 0) {
        static const char said[] = "avx2_alone: this processor or kernel can't refuse CPUID\n";
        if (write(2, said, sizeof said - 1)) {}
        _exit(1);
    }
    setenv("EDGEXF_AVX2_ALONE", "1", 1); /* for avx2_alone.py, which looks whether the library was loaded */
}
