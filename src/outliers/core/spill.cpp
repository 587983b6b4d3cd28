#include "outliers/core/spill.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <unistd.h>

#include <ATen/ATen.h>

#include "outliers/core/error.h"
#include "outliers/core/interrupt.h"
#include "outliers/core/shape.h"

namespace outliers {

Spill::Spill(std::filesystem::path directory, uint64_t bytes) : directory_(std::move(directory)) {
  if (directory_.empty()) directory_ = ".";
  std::string path = (directory_ / ".outliers-spill-XXXXXX").string();
  file_ = mkostemp(path.data(), O_CLOEXEC);
  const int made = errno;
  require(file_ >= 0, not_written(made),
          "cannot write to {}: {}; name a directory for what does not fit the memory by TMPDIR",
          directory_.string(), std::strerror(made));
  ::unlink(path.c_str());
  // A disk without room is better known now than after hours. Where the file system cannot tell, later.
  const auto reserve = [&] { return fallocate(file_, 0, 0, static_cast<off_t>(bytes)); };
  const int error = bytes > 0 && interruptible(reserve) != 0 ? errno : 0;
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) {
    ::close(file_);
    fail(Cause{ErrorKind::output, {Setting::memory_limit}, error},
         "{:.1f} GB of what does not fit the memory cannot be written to {}: {}; free some space, name "
         "another "
         "directory by TMPDIR, or raise the limit",
         static_cast<double>(bytes) / 1e9, directory_.string(), std::strerror(error));
  }
}

Spill::~Spill() {
  ::close(file_);
}

void Spill::fail_write(int error) const {
  fail(Cause{ErrorKind::output, {Setting::memory_limit}, error},
       "what does not fit the memory cannot be written to {}: {}; free some space, name another directory by "
       "TMPDIR, or raise the limit",
       directory_.string(), std::strerror(error));
}

void Spill::write(const Place& place, const at::Tensor& x) {
  const at::Tensor host = x.cpu().contiguous();
  const auto* data = static_cast<const char*>(host.const_data_ptr());
  for (size_t done = 0; done < place.bytes;) {
    const ssize_t wrote =
        ::pwrite(file_, data + done, place.bytes - done, place.offset + static_cast<off_t>(done));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) fail_write(wrote < 0 ? errno : ENOSPC);
    done += static_cast<size_t>(wrote);
  }
  written_ += place.bytes;
}

size_t Spill::add(const at::Tensor& x) {
  const Place place{end_, x.sizes().vec(), x.scalar_type(), x.nbytes()};
  write(place, x);
  end_ += static_cast<int64_t>(place.bytes);
  places_.push_back(place);
  return places_.size() - 1;
}

void Spill::replace(size_t number, const at::Tensor& x) {
  const Place& place = places_.at(number);
  TORCH_INTERNAL_ASSERT(x.sizes() == at::IntArrayRef(place.shape) && x.scalar_type() == place.dtype,
                        "a spilled tensor of ", shape_string(place.shape), " cannot become ",
                        shape_string(x.sizes()));
  write(place, x);
}

at::Tensor Spill::get(size_t number) const {
  const Place& place = places_.at(number);
  at::Tensor x = at::empty(place.shape, place.dtype);
  auto* data = static_cast<char*>(x.mutable_data_ptr());
  for (size_t done = 0; done < place.bytes;) {
    const ssize_t got =
        ::pread(file_, data + done, place.bytes - done, place.offset + static_cast<off_t>(done));
    if (got < 0 && errno == EINTR) continue;
    require(got > 0, not_read(got < 0 ? errno : EIO),
            "what was written to {} for lack of memory cannot be read again: {}", directory_.string(),
            got < 0 ? std::strerror(errno) : "the file ends early");
    done += static_cast<size_t>(got);
  }
  return x;
}

void Spill::expect(size_t number) const {
  const Place& place = places_.at(number);
  posix_fadvise(file_, place.offset, static_cast<off_t>(place.bytes), POSIX_FADV_WILLNEED);
}

void Spill::clear() {
  places_.clear();
  end_ = 0;
}

}  // namespace outliers
