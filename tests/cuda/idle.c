/* The GPU of stub.c with kernels and products that are launched and do nothing: tensors are real, values are not. */
#define KERNELS_DO_NOTHING
#include "stub.c"

#define RETURNS_0(name) int name() { return 0; }
#define DESCRIBES(name) int name(void **it) { return make(it); }

/* the runtime: queries of kernels before their launch */
int cudaDeviceGetAttribute(int *value, int attribute, int device) {
    switch (attribute) {
        case cudaDevAttrComputeCapabilityMajor: *value = 9; break;
        case cudaDevAttrComputeCapabilityMinor: *value = 0; break;
        case cudaDevAttrMultiProcessorCount: *value = 132; break;
        case cudaDevAttrMaxSharedMemoryPerBlock: *value = 49152; break;
        case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = 232448; break;
        case cudaDevAttrMaxThreadsPerMultiProcessor: *value = 2048; break;
        case cudaDevAttrMaxThreadsPerBlock: *value = 1024; break;
        case cudaDevAttrWarpSize: *value = 32; break;
        default: *value = 1;
    }
    return 0;
}
int cudaFuncGetAttributes(struct cudaFuncAttributes *of, const void *kernel) {
    memset(of, 0, sizeof *of);
    of->maxThreadsPerBlock = 1024;
    of->numRegs = 32;
    of->ptxVersion = of->binaryVersion = 90;
    return 0;
}
int cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks) { *blocks = 2; return 0; }
int cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks) { *blocks = 2; return 0; }
RETURNS_0(cudaFuncSetAttribute)

/* cuBLAS: a product is a launch, on the stream of its handle */
static void *stream_of_products;
DESCRIBES(cublasCreate_v2)
int cublasSetStream_v2(void *handle, void *stream) { stream_of_products = stream; return 0; }
int cublasGetStream_v2(void *handle, void **stream) { *stream = stream_of_products; return 0; }
int cublasGetPointerMode_v2(void *handle, int *mode) { *mode = 0; return 0; }
int cublasGetMathMode(void *handle, int *mode) { *mode = 0; return 0; }
RETURNS_0(cublasDestroy_v2)
RETURNS_0(cublasSetWorkspace_v2)
RETURNS_0(cublasSetMathMode)
RETURNS_0(cublasSetPointerMode_v2)
#define PRODUCT(name) int name() { return launch((void *)name, stream_of_products) ? 14 : 0; }
PRODUCT(cublasSgemm_v2)
PRODUCT(cublasGemmEx)
PRODUCT(cublasSgemmStridedBatched)
PRODUCT(cublasGemmStridedBatchedEx)
PRODUCT(cublasSgemv_v2)
DESCRIBES(cublasLtCreate)
DESCRIBES(cublasLtMatmulDescCreate)
DESCRIBES(cublasLtMatrixLayoutCreate)
DESCRIBES(cublasLtMatmulPreferenceCreate)
RETURNS_0(cublasLtDestroy)
RETURNS_0(cublasLtMatmulDescSetAttribute)
RETURNS_0(cublasLtMatrixLayoutSetAttribute)
RETURNS_0(cublasLtMatmulPreferenceSetAttribute)
RETURNS_0(cublasLtMatmulDescDestroy)
RETURNS_0(cublasLtMatrixLayoutDestroy)
RETURNS_0(cublasLtMatmulPreferenceDestroy)
RETURNS_0(cublasLtMatmulDescInit_internal)
int cublasLtMatmulAlgoGetHeuristic(void *handle, void *of, void *a, void *b, void *c, void *d, void *preference,
                                   int wanted, void *found, int *count) {
    memset(found, 0, 64);
    *count = 1;
    return 0;
}
int cublasLtMatmul(void *handle, void *of, const void *alpha, const void *a, void *A, const void *b, void *B,
                   const void *beta, const void *c, void *C, void *d, void *D, const void *algorithm, void *workspace,
                   size_t size, void *stream) { return launch((void *)cublasLtMatmul, stream) ? 14 : 0; }

/* the driver: contexts for products, and descriptors of attention */
DESCRIBES(cuCtxGetCurrent)
RETURNS_0(cuTensorMapEncodeTiled)
int cudaGetDriverEntryPointByVersion(const char *name, void **function) { *function = (void *)cuTensorMapEncodeTiled; return 0; }
int cudaGetDriverEntryPoint(const char *name, void **function) { *function = (void *)cuTensorMapEncodeTiled; return 0; }
