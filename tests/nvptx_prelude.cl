// What NVIDIA's compiler knows and clang does not: the built-ins of OpenCL C that kernels of matrix products
// call, for clang -target nvptx64 (tests/test_tensor_ptx.py).
#define get_local_id(axis) __nvvm_read_ptx_sreg_tid_x()
#define get_group_id(axis)                      \
  ((axis) == 0   ? __nvvm_read_ptx_sreg_ctaid_x() \
   : (axis) == 1 ? __nvvm_read_ptx_sreg_ctaid_y() \
                 : __nvvm_read_ptx_sreg_ctaid_z())
#define barrier(fence) __syncthreads()
#define min(x, y) ((x) < (y) ? (x) : (y))
#define max(x, y) ((x) > (y) ? (x) : (y))
#define clamp(x, low, high) min(max(x, low), high)
#define vload_half(at, from) __builtin_load_halff((from) + (at))
#define vstore_half(value, at, to) __builtin_store_halff(value, (to) + (at))
