/*
 * Preloaded into nginx: in one of its processes one allocation in so many fails, and those that a
 * library of a given name asks for are counted.
 *
 * The file that FAILING_MALLOC names holds a struct control, which the test reads and writes while
 * nginx runs; FAILING_MALLOC_LIBRARY is the library's name. Only for glibc.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

struct control {
    uint64_t pid;      /* the process that it is about */
    uint64_t period;   /* one in so many fails; 0: none */
    uint64_t random;   /* state of the generator, not 0 */
    uint64_t asked;    /* allocations of the process */
    uint64_t failed;   /* those that failed */
    uint64_t library;  /* those of the library */
    uint64_t offset;   /* where in the library the first of them was asked for */
};

static volatile struct control *control;
static char library[64];

__attribute__((constructor)) static void set_up(void)
{
    const char *name = getenv("FAILING_MALLOC"), *its = getenv("FAILING_MALLOC_LIBRARY");
    int file = name ? open(name, O_RDWR) : -1;
    void *memory;

    if (file < 0) {
        return;
    }
    memory = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (memory != MAP_FAILED) {
        /* nginx writes its title over the environment. */
        strncpy(library, its ? its : "", sizeof(library) - 1);
        control = memory;
    }
}

/* Marsaglia's xorshift. */
static uint64_t next_random(uint64_t x)
{
    x ^= x << 13;
    x ^= x >> 7;
    return x ^ x << 17;
}

static int fails(void *caller)
{
    Dl_info info;

    if (control == NULL || control->pid != (uint64_t) getpid()) {
        return 0;
    }
    control->asked++;
    if (library[0] && dladdr(caller, &info) && info.dli_fname && strstr(info.dli_fname, library)) {
        if (control->library++ == 0) {
            control->offset = (uint64_t) ((char *) caller - (char *) info.dli_fbase);
        }
    }
    if (control->period == 0) {
        return 0;
    }
    control->random = next_random(control->random);
    if (control->random % control->period != 0) {
        return 0;
    }
    control->failed++;
    errno = ENOMEM;
    return 1;
}

#define FAILS fails(__builtin_return_address(0))

void *malloc(size_t size)
{
    return FAILS ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return FAILS ? NULL : __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size)
{
    return FAILS ? NULL : __libc_realloc(memory, size);
}

void *memalign(size_t alignment, size_t size)
{
    return FAILS ? NULL : __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return FAILS ? NULL : __libc_memalign(alignment, size);
}

int posix_memalign(void **result, size_t alignment, size_t size)
{
    void *memory = FAILS ? NULL : __libc_memalign(alignment, size);

    if (memory == NULL) {
        return ENOMEM;
    }
    *result = memory;
    return 0;
}
