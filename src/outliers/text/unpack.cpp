#include "outliers/text/unpack.h"

#include <algorithm>
#include <string_view>
#include <vector>
#include <zstd.h>
#include <zstd_errors.h>

#include <zlib.h>

#include "outliers/core/error.h"
#include "outliers/core/interrupt.h"

namespace outliers::text {
namespace {

constexpr size_t kBuffer = size_t{1} << 18;

/// The bytes of a source that were not used yet.
class Input {
 public:
  Input(ByteSource source, std::string name)
      : name_(std::move(name)), source_(std::move(source)), buffer_(kBuffer) {}

  const std::string& name() const { return name_; }
  const char* data() const { return buffer_.data() + begin_; }
  size_t size() const { return end_ - begin_; }
  void use(size_t bytes) { begin_ += bytes; }
  /// Reads where there is nothing left. False at the end.
  bool fill() {
    if (size() > 0) return true;
    check_interrupt();
    begin_ = 0;
    end_ = source_(buffer_.data(), buffer_.size());
    return end_ > 0;
  }
  /// Reads until there are `bytes`, or the end.
  void gather(size_t bytes) {
    for (size_t got = 1; size() < bytes && got > 0; end_ += got) {
      got = source_(buffer_.data() + end_, buffer_.size() - end_);
    }
  }

 private:
  std::string name_;
  ByteSource source_;
  std::vector<char> buffer_;
  size_t begin_ = 0, end_ = 0;
};

class Gzip {
 public:
  explicit Gzip(std::shared_ptr<Input> input) : input_(std::move(input)) {
    constexpr int gzip_only = 15 + 16;
    require(inflateInit2(&stream_, gzip_only) == Z_OK, Cause{ErrorKind::memory}, "cannot start zlib");
  }
  ~Gzip() { inflateEnd(&stream_); }
  Gzip(const Gzip&) = delete;
  Gzip& operator=(const Gzip&) = delete;

  size_t read(char* to, size_t most) {
    stream_.next_out = reinterpret_cast<Bytef*>(to);
    stream_.avail_out = static_cast<uInt>(std::min(most, kBuffer));
    const uInt room = stream_.avail_out;
    while (stream_.avail_out == room) {
      if (ended_ && !next_member()) return 0;
      // What the last call had no room for comes without new bytes.
      require(full_ || input_->fill(), "{} is cut short: its gzip data does not end; download it again",
              input_->name());
      stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(input_->data()));
      stream_.avail_in = static_cast<uInt>(input_->size());
      const int status = inflate(&stream_, Z_NO_FLUSH);
      input_->use(input_->size() - stream_.avail_in);
      require(status == Z_OK || status == Z_STREAM_END || status == Z_BUF_ERROR,
              "{} is not valid gzip: {}; download it again or decompress it yourself", input_->name(),
              stream_.msg != nullptr ? stream_.msg : "damaged data");
      ended_ = status == Z_STREAM_END;
      full_ = !ended_ && stream_.avail_out == 0;
    }
    return room - stream_.avail_out;
  }

 private:
  /// Skips the zeros that pad some files.
  bool next_member() {
    while (input_->fill()) {
      const std::string_view left(input_->data(), input_->size());
      const size_t zeros = std::min(left.find_first_not_of('\0'), left.size());
      input_->use(zeros);
      if (zeros == left.size()) continue;
      inflateReset(&stream_);
      ended_ = false;
      return true;
    }
    return false;
  }

  std::shared_ptr<Input> input_;
  z_stream stream_{};
  bool ended_ = false, full_ = false;
};

class Zstd {
 public:
  explicit Zstd(std::shared_ptr<Input> input) : input_(std::move(input)), stream_(ZSTD_createDStream()) {
    require(stream_ != nullptr, Cause{ErrorKind::memory}, "cannot start zstd");
  }
  ~Zstd() { ZSTD_freeDStream(stream_); }
  Zstd(const Zstd&) = delete;
  Zstd& operator=(const Zstd&) = delete;

  size_t read(char* to, size_t most) {
    ZSTD_outBuffer out{to, most, 0};
    while (out.pos == 0) {
      // What the last call had no room for comes without new bytes.
      const bool more = full_ && left_ != 0;
      if (!more && !input_->fill()) {
        require(left_ == 0, "{} is cut short: its zstd data does not end; download it again", input_->name());
        return 0;
      }
      ZSTD_inBuffer in{input_->data(), input_->size(), 0};
      left_ = ZSTD_decompressStream(stream_, &out, &in);
      input_->use(in.pos);
      full_ = out.pos == out.size;
      if (ZSTD_isError(left_) == 0U) continue;
      require(ZSTD_getErrorCode(left_) != ZSTD_error_frameParameter_windowTooLarge,
              "{} was compressed by zstd with a window of more than 128 MiB; decompress it yourself (zstd -d "
              "--long=31)",
              input_->name());
      fail("{} is not valid zstd: {}; download it again or decompress it yourself", input_->name(),
           ZSTD_getErrorName(left_));
    }
    return out.pos;
  }

 private:
  std::shared_ptr<Input> input_;
  ZSTD_DStream* stream_;
  size_t left_ = 0;  ///< 0: a frame has ended
  bool full_ = false;
};

}  // namespace

ByteSource unpacked(ByteSource source, const std::string& name) {
  const auto input = std::make_shared<Input>(std::move(source), name);
  constexpr size_t magic = 4;
  input->gather(magic);
  const std::string_view first(input->data(), std::min(input->size(), magic));
  if (first.starts_with("\x1f\x8b")) {
    return [gzip = std::make_shared<Gzip>(input)](char* to, size_t most) { return gzip->read(to, most); };
  }
  // A frame, or one that is to be skipped, of any of its 16 numbers.
  const bool skippable =
      first.size() == magic && (first[0] & 0xf0) == 0x50 && first.substr(1) == "\x2a\x4d\x18";
  if (first == "\x28\xb5\x2f\xfd" || skippable) {
    return [zstd = std::make_shared<Zstd>(input)](char* to, size_t most) { return zstd->read(to, most); };
  }
  return [input](char* to, size_t most) {
    if (!input->fill()) return size_t{0};
    const size_t bytes = std::min(most, input->size());
    std::copy_n(input->data(), bytes, to);
    input->use(bytes);
    return bytes;
  };
}

}  // namespace outliers::text
