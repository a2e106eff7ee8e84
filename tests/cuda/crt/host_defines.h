/* The part of the toolkit's own header that the headers of the runtime need. */
#define __device_builtin__
#define __cudart_builtin__
#define __builtin_align__(n) __attribute__((aligned(n)))
#define __host__
#define __device__
#define CUDARTAPI
#define __device_builtin_texture_type__
#define __device_builtin_surface_type__
#define __align__(n) __attribute__((aligned(n)))
