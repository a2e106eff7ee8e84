/* A simulated GPU: the functions of the CUDA runtime that torch calls besides its kernels, for one device of compute
   capability 9.0. It is loaded before the real runtime, whose other functions fail without a driver. Memory of the
   device is memory of the host. No kernel runs: its launch fails, or does nothing if KERNELS_DO_NOTHING is defined
   (idle.c). */
#include <driver_types.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define BYTES ((size_t)140 << 30)
#define PAGE ((size_t)4096)
#define DOES_NOTHING(name) cudaError_t name() { return cudaSuccess; }

static long waits; /* of the host for the device */
static long used;  /* bytes of the device that torch's allocator has requested */
static long mallocs;
long stub_mallocs(void) { return mallocs; }
long stub_waits(void) { return waits; }
long stub_used(void) { return used; }
static void *capturing; /* the stream whose work is captured */
static int invalid;     /* whether the capture failed because of a call that cannot be captured */
static __thread int mode; /* of this thread: 2 if it may use other streams meanwhile, as generators do */
static cudaError_t not_captured(cudaError_t why) { invalid = 1; return why; }
static cudaError_t wait_for(void *stream) {
    __atomic_add_fetch(&waits, 1, __ATOMIC_RELAXED);
    return !capturing || (mode == 2 && stream != capturing) ? cudaSuccess : not_captured(cudaErrorStreamCaptureUnsupported);
}
static cudaError_t wait_for_it(void) { return wait_for(NULL); }

/* devices */
cudaError_t cudaGetDeviceCount(int *count) { *count = 1; return cudaSuccess; }
cudaError_t cudaGetDevice(int *device) { *device = 0; return cudaSuccess; }
cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : cudaErrorInvalidDevice; }
cudaError_t cudaDriverGetVersion(int *version) { *version = 13000; return cudaSuccess; }
cudaError_t cudaDeviceCanAccessPeer(int *can, int device, int peer) { *can = 0; return cudaSuccess; }
cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *most) { *least = 0; *most = -5; return cudaSuccess; }
cudaError_t cudaDeviceGetPCIBusId(char *id, int length, int device) { strncpy(id, "0000:01:00.0", length); return cudaSuccess; }
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *of, int device) {
    if (device != 0) return cudaErrorInvalidDevice;
    memset(of, 0, sizeof *of);
    strcpy(of->name, "Stub of an H200");
    of->major = 9;
    of->totalGlobalMem = BYTES;
    of->multiProcessorCount = 132;
    of->warpSize = 32;
    of->maxThreadsPerBlock = 1024;
    of->maxThreadsPerMultiProcessor = 2048;
    of->maxThreadsDim[0] = of->maxThreadsDim[1] = 1024;
    of->maxThreadsDim[2] = 64;
    of->maxGridSize[0] = 2147483647;
    of->maxGridSize[1] = of->maxGridSize[2] = 65535;
    of->regsPerBlock = of->regsPerMultiprocessor = 65536;
    of->sharedMemPerBlock = 49152;
    of->sharedMemPerBlockOptin = 232448;
    of->sharedMemPerMultiprocessor = 233472;
    of->l2CacheSize = 50 << 20;
    of->memoryBusWidth = 6144;
    of->streamPrioritiesSupported = of->unifiedAddressing = of->memoryPoolsSupported = of->concurrentKernels = 1;
    return cudaSuccess;
}
/* of the driver, as which this library is also loaded: whether the device has a context */
static int compute_mode; /* 0: processes share the device; 3: one process uses it exclusively */
void stub_compute_mode(int mode) { compute_mode = mode; }
int cuInit(unsigned flags) { return 0; }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
int cuDeviceGet(int *device, int index) { *device = index; return 0; }
int cuDeviceGetName(char *name, int length, int device) { strncpy(name, "Stub of an H200", length); return 0; }
int cuDeviceGetUuid_v2(char *uuid, int device) { memset(uuid, 1, 16); return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    *value = attribute == 20 ? compute_mode : 0;
    return visible && !*visible ? 100 : 0; /* CUDA_ERROR_NO_DEVICE */
}
int cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) { *flags = 0; *active = 1; return 0; }

/* memory */
cudaError_t cudaMemGetInfo(size_t *left, size_t *total) { *left = BYTES - used; *total = BYTES; return cudaSuccess; }
cudaError_t cudaMalloc(void **at, size_t size) {
    /* Addresses increase, as on a device with free memory. A page before each block stores its size. */
    static char *next;
    size_t whole = (size + PAGE - 1) / PAGE * PAGE + PAGE;
    if (!next) next = mmap(NULL, 8 * BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (next == MAP_FAILED || mprotect(next, whole, PROT_READ | PROT_WRITE)) return cudaErrorMemoryAllocation;
    *(size_t *)next = size;
    used += size;
    mallocs++;
    *at = next + PAGE;
    next += whole;
    return cudaSuccess;
}
cudaError_t cudaFree(void *at) {
    if (!at) return cudaSuccess;
    char *head = (char *)at - PAGE;
    size_t size = *(size_t *)head;
    used -= size;
    return munmap(head, (size + PAGE - 1) / PAGE * PAGE + PAGE) ? cudaErrorUnknown : cudaSuccess;
}
cudaError_t cudaMemcpy(void *to, const void *from, size_t size, int kind) { memmove(to, from, size); return wait_for_it(); }
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t size, int kind, void *stream) { memmove(to, from, size); return cudaSuccess; }
cudaError_t cudaMemsetAsync(void *at, int value, size_t size, void *stream) { memset(at, value, size); return cudaSuccess; }
cudaError_t cudaHostAlloc(void **at, size_t size, unsigned flags) { *at = calloc(1, size); return cudaSuccess; }
cudaError_t cudaFreeHost(void *at) { free(at); return cudaSuccess; }

/* streams and events, each with a unique address */
static cudaError_t make(void **it) { *it = calloc(1, 16); return cudaSuccess; }
cudaError_t cudaStreamCreateWithPriority(void **stream, unsigned flags, int priority) { return make(stream); }
cudaError_t cudaStreamGetPriority(void *stream, int *priority) { *priority = 0; return cudaSuccess; }
cudaError_t cudaStreamSynchronize(void *stream) { return wait_for(stream); }
cudaError_t cudaDeviceSynchronize(void) { return wait_for_it(); }
cudaError_t cudaEventSynchronize(void *event) { return wait_for_it(); }
cudaError_t cudaEventCreateWithFlags(void **event, unsigned flags) { return make(event); }
cudaError_t cudaEventElapsedTime(float *ms, void *from, void *to) { *ms = 0; return cudaSuccess; }
DOES_NOTHING(cudaStreamQuery)
DOES_NOTHING(cudaStreamWaitEvent)
DOES_NOTHING(cudaEventQuery)
DOES_NOTHING(cudaEventRecord)
DOES_NOTHING(cudaEventRecordWithFlags)
DOES_NOTHING(cudaEventDestroy)

/* captures: a graph is its number of launches */
static unsigned long long captures;
static long captured, replays;
long stub_replays(void) { return replays; }
cudaError_t cudaStreamIsCapturing(void *stream, int *status) {
    *status = capturing && stream == capturing ? 1 + invalid : 0;
    return cudaSuccess;
}
cudaError_t cudaStreamGetCaptureInfo(void *stream, int *status, unsigned long long *id, void **graph,
                                     void **dependencies, void **edges, size_t *count) {
    cudaStreamIsCapturing(stream, status);
    if (*status && id) *id = captures;
    if (*status && count) *count = 0;
    return cudaSuccess;
}
cudaError_t cudaThreadExchangeStreamCaptureMode(int *other) { int now = mode; mode = *other; *other = now; return cudaSuccess; }
cudaError_t cudaStreamBeginCapture(void *stream, int mode) {
    capturing = stream, invalid = 0, captured = 0, captures++;
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(void *stream, long **graph) {
    capturing = NULL;
    *graph = NULL;
    if (invalid) return cudaErrorStreamCaptureInvalidated;
    *graph = malloc(sizeof captured);
    **graph = captured;
    return cudaSuccess;
}
cudaError_t cudaGraphGetNodes(long *graph, void *nodes, size_t *count) { *count = *graph; return cudaSuccess; }
cudaError_t cudaGraphInstantiate(void **executable, void *graph, unsigned long long flags) { return make(executable); }
cudaError_t cudaGraphInstantiateWithFlags(void **executable, void *graph, unsigned long long flags) { return make(executable); }
cudaError_t cudaGraphLaunch(void *executable, void *stream) { replays++; return cudaSuccess; }
DOES_NOTHING(cudaGraphDestroy)
DOES_NOTHING(cudaGraphExecDestroy)

/* kernels */
static cudaError_t failed = cudaSuccess;
#define MOST 100000
static const void *launched[MOST]; /* kernels in the order of their launches */
static long launches;
const void **stub_launched(void) { return launched; }
long stub_launches(void) { return launches; }
static cudaError_t launch(const void *kernel, void *stream) {
#ifdef KERNELS_DO_NOTHING
    if (capturing && mode != 2 && stream != capturing) return failed = not_captured(cudaErrorStreamCaptureImplicit);
    captured += capturing != NULL && stream == capturing;
    if (!capturing || stream == capturing) launched[launches++ % MOST] = kernel;
    return cudaSuccess;
#else
    return failed = cudaErrorNoKernelImageForDevice;
#endif
}
#define LAUNCHES(name) cudaError_t name(const void *kernel, dim3 grid, dim3 block, void **arguments, size_t shared, void *stream) { return launch(kernel, stream); }
cudaError_t __cudaGetKernel(void **kernel, const void *function) { *kernel = (void *)function; return cudaSuccess; }
LAUNCHES(__cudaLaunchKernel)
LAUNCHES(cudaLaunchKernel)
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t *how, const void *kernel, void **arguments) { return launch(kernel, how->stream); }
cudaError_t cudaPeekAtLastError(void) { return failed; }
cudaError_t cudaGetLastError(void) { cudaError_t last = failed; failed = cudaSuccess; return last; }
