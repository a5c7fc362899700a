/* The part of a CUDA driver that Triton calls, doing nothing but note what it was told. */
#include <stdint.h>
#include <string.h>

typedef struct {
    unsigned grid[3], block[3], shared;
    void *stream, *attributes;
    unsigned count;
} Config;

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
    return 0;
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
int cuDeviceGetAttribute(int *value, int attribute, int device) { *value = 232448; return 0; }
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = (void *)1; return 0; }
int cuDriverGetVersion(int *version) { *version = 13000; return 0; }
int cuStreamIsCapturing(void *stream, int *status) { *status = 0; return 0; }
int cuPointerGetAttribute(void *data, int attribute, uint64_t address) { memcpy(data, &address, 8); return 0; }
int cuGetErrorString(int error, const char **text) { *text = "an error of the stub driver"; return 0; }
