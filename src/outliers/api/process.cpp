#include "outliers/api/process.h"

#include "outliers/core/interrupt.h"
#include "outliers/core/memory.h"
#include "outliers/io/mapped_file.h"

namespace outliers {

void prepare_process(const ProcessOptions& options) {
  if (options.interrupts) install_interrupt_handlers();
  if (options.files_cut_short) io::install_map_guard();
  if (options.kept_memory) install_tensor_allocator();
}

std::string file_cut_short() {
  return io::map_guard_message();
}

}  // namespace outliers
