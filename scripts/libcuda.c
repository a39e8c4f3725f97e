/* A libcuda to link with, which opens the real one when the program runs.

   gorgonia.org/cu calls cuInit before main and ends the program where that
   fails: linked with the real library, the program would neither start on a
   machine without NVIDIA's driver nor get as far as to choose another device.
   Here the first cuInit does nothing. The second, which package cuda makes when
   it is asked for a GPU, opens the library, finds all functions in it and passes
   the call on. Until then each function returns CUDA_ERROR_NOT_INITIALIZED.

   scripts/cuda.sh compiles this with LIBCUDA_NAMES, a file with FUNCTION(name)
   for each function of cuda.h but cuInit. */
#include <dlfcn.h>
#include <stddef.h>
#include <stdlib.h>

typedef int function(void);

static int not_initialized(void) { return 3; }
static int not_found(void) { return 500; }

/* cuName jumps to where sn_cuName points, with its arguments as they are. */
#if defined(__x86_64__)
#define JUMP(name) "jmp *sn_" #name "(%rip)\n"
#elif defined(__aarch64__)
#define JUMP(name) "adrp x16, sn_" #name "\nldr x16, [x16, #:lo12:sn_" #name "]\nbr x16\n"
#else
#error "libcuda.c knows x86-64 and arm64"
#endif
#define FUNCTION(name) \
	__attribute__((visibility("hidden"), used)) function *sn_##name = not_initialized; \
	__asm__(".pushsection .text\n.globl " #name "\n.type " #name ", @function\n" #name ":\n" JUMP(name) \
		".size " #name ", . - " #name "\n.popsection\n");
#include LIBCUDA_NAMES
#undef FUNCTION

static const struct {
	const char *name;
	function **to;
} functions[] = {
#define FUNCTION(name) {#name, &sn_##name},
#include LIBCUDA_NAMES
#undef FUNCTION
};

int cuInit(unsigned flags) {
	static int calls;
	static void *library;
	if (calls++ == 0) {
		return 0;
	}
	if (!library) {
		/* Package cuda has opened the same file before, and says why it could not. */
		const char *file = getenv("STYLENET_LIBCUDA");
		library = dlopen(file && *file ? file : "libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
		if (!library) {
			return 3;
		}
		for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
			function *f = (function *)dlsym(library, functions[i].name);
			*functions[i].to = f ? f : not_found;
		}
	}
	int (*init)(unsigned) = (int (*)(unsigned))dlsym(library, "cuInit");
	return init ? init(flags) : 500;
}
