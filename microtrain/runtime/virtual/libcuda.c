/* The part of a CUDA driver that Triton calls, without a GPU. A launch is counted and, as asked for, noted, handed to a
 * hook, or both. What the hook refuses, cuGetErrorString tells. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <string.h>

#define INVALID_VALUE 1
#define NO_DEVICE 100
#define NOT_FOUND 500
#define REFUSED 999

typedef struct {
    unsigned grid[3], block[3], shared;
    void *stream, *attributes;
    unsigned count;
} Config;

typedef int (*Hook)(const Config *, void *, void **);
typedef int (*Live)(uint64_t);

Hook on_launch;                     /* answers 0, or REFUSED with `refusal` filled in */
Live is_device_memory;              /* whether an address is the device's */
typedef int (*Graphs)(const char *, void *, void *, void *);
Graphs on_graph;                    /* what is asked of graphs, by the function's name; as on_launch */
char refusal[512];                  /* Triton copies it behind a prefix into 1024 bytes */
int attributes[256];                /* by the number of a CU_DEVICE_ATTRIBUTE */
int capturing;

long launches;
Config last;
void *last_function;
int expected, sizes[MAX_PARAMETERS];
uint64_t parameters[MAX_PARAMETERS];

int cuLaunchKernelEx(const Config *config, void *function, void **arguments, void **extra) {
    launches++;
    if (expected) {
        last = *config;
        last_function = function;
        for (int i = 0; i < expected; i++) {
            parameters[i] = 0;
            memcpy(&parameters[i], arguments[i], sizes[i]);
        }
    }
    return on_launch ? on_launch(config, function, arguments) : 0;
}

int cuLaunchKernel(void *function, unsigned x, unsigned y, unsigned z, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void *stream, void **arguments, void **extra) {
    Config config = {{x, y, z}, {bx, by, bz}, shared, stream, 0, 0};
    return cuLaunchKernelEx(&config, function, arguments, extra);
}

#define OF_GRAPHS(name) int name(void *a, void *b, void *c) { return on_graph ? on_graph(#name, a, b, c) : NOT_FOUND; }
OF_GRAPHS(cuStreamCreate)
OF_GRAPHS(cuStreamDestroy_v2)
OF_GRAPHS(cuStreamBeginCapture_v2)
OF_GRAPHS(cuStreamEndCapture)
OF_GRAPHS(cuGraphGetNodes)
OF_GRAPHS(cuGraphKernelNodeGetParams_v2)
OF_GRAPHS(cuGraphInstantiateWithFlags)
OF_GRAPHS(cuGraphExecKernelNodeSetParams_v2)
OF_GRAPHS(cuGraphLaunch)
OF_GRAPHS(cuGraphExecDestroy)
OF_GRAPHS(cuGraphDestroy)

/* A CUDA runtime that finds this library, such as PyTorch's, is told that there is no device. */
int cuInit(unsigned flags) { return NO_DEVICE; }
int cuDeviceGetCount(int *count) { *count = 0; return NO_DEVICE; }
int cuGetProcAddress_v2(const char *name, void **found, int version, uint64_t flags, int *status) {
    *found = dlsym(RTLD_DEFAULT, name);
    if (status) *status = *found ? 0 : 1;
    return *found ? 0 : NOT_FOUND;
}
int cuGetProcAddress(const char *name, void **found, int version, uint64_t flags) {
    return cuGetProcAddress_v2(name, found, version, flags, 0);
}

static uintptr_t handles = 0x1000;
int cuModuleLoadData(void **module, const void *image) { *module = (void *)++handles; return 0; }
int cuModuleGetFunction(void **function, void *module, const char *name) { *function = (void *)++handles; return 0; }
int cuModuleUnload(void *module) { return 0; }
int cuFuncGetAttribute(int *value, int attribute, void *function) { *value = attribute == 0 ? 1024 : 0; return 0; }
int cuFuncSetAttribute(void *function, int attribute, int value) { return 0; }
int cuFuncSetCacheConfig(void *function, int config) { return 0; }
int cuCtxGetCurrent(void **context) { *context = (void *)1; return 0; }
int cuCtxSetCurrent(void *context) { return 0; }
int cuCtxGetDevice(int *device) { *device = 0; return 0; }
int cuCtxGetLimit(size_t *value, int limit) { *value = 0; return 0; }
int cuCtxSetLimit(int limit, size_t value) { return 0; }
int cuDeviceGet(int *device, int number) { *device = number; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) { *value = attributes[attribute & 255]; return 0; }
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = (void *)1; return 0; }
int cuDriverGetVersion(int *version) { *version = 13000; return 0; }
int cuStreamIsCapturing(void *stream, int *status) { *status = capturing; return 0; }
int cuPointerGetAttribute(void *data, int attribute, uint64_t address) {
    if (is_device_memory && !is_device_memory(address)) return INVALID_VALUE;
    memcpy(data, &address, 8);
    return 0;
}
int cuGetErrorString(int error, const char **text) {
    *text = error == REFUSED && refusal[0] ? refusal : "an error of the virtual driver";
    return 0;
}
