// libpng and libjpeg report errors by longjmp, which runs no destructors: each `guarded` action holds nothing
// that has one, and what it fills belongs to the decoder object outside. (C cannot be thrown through.)
#include "outliers/io/image.h"

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <jpeglib.h>
#include <png.h>
#include <vector>

#include <ATen/ATen.h>
// jpeglib.h first.
#include <jerror.h>

#include "outliers/core/error.h"
#include "outliers/io/mapped_file.h"

namespace outliers::io {

namespace {

/// Scans of a progressive JPEG: encoders write about ten, and each costs a pass over the whole image.
constexpr int kLargestScans = 100;
/// What deflate can make of one byte, about.
constexpr int64_t kDeflateRatio = 1032;

/// The number under tag 0x0112 of the first directory of Exif data (TIFF 6.0), 1 where there is none.
int orientation_of(std::span<const uint8_t> tiff) {
  if (tiff.size() < 8) return 1;
  const bool little = tiff[0] == 'I' && tiff[1] == 'I';
  if (!little && !(tiff[0] == 'M' && tiff[1] == 'M')) return 1;
  const auto number = [&](size_t at, size_t bytes) {
    uint32_t value = 0;
    for (size_t i = 0; i < bytes; ++i) value = value << 8 | tiff[at + (little ? bytes - 1 - i : i)];
    return value;
  };
  const size_t directory = number(4, 4);
  if (directory > tiff.size() - 2) return 1;
  constexpr size_t kEntry = 12;
  constexpr uint32_t kOrientation = 0x0112, kShort = 3;
  const size_t entries = std::min<size_t>(number(directory, 2), (tiff.size() - directory - 2) / kEntry);
  for (size_t i = 0; i < entries; ++i) {
    const size_t at = directory + 2 + i * kEntry;
    if (number(at, 2) != kOrientation || number(at + 2, 2) != kShort) continue;
    const auto value = static_cast<int>(number(at + 8, 2));
    return value >= 1 && value <= 8 ? value : 1;
  }
  return 1;
}

/// image [H,W,3] as it is to be seen. Orientations from 5 on are transposed; then each is a mirror image, or
/// two.
at::Tensor upright(const at::Tensor& image, int orientation) {
  const at::Tensor turned = orientation >= 5 ? image.transpose(0, 1) : image;
  constexpr bool kRows[] = {false, false, true, true, false, false, true, true},
                 kColumns[] = {false, true, true, false, false, true, true, false};
  std::vector<int64_t> mirrored;
  if (kRows[orientation - 1]) mirrored.push_back(0);
  if (kColumns[orientation - 1]) mirrored.push_back(1);
  return (mirrored.empty() ? turned : turned.flip(mirrored)).contiguous();
}

class PngDecoder {
 public:
  PngDecoder(std::span<const uint8_t> bytes, const std::string& where, int64_t most)
      : bytes_(bytes), where_(where), most_(most) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, on_error, on_warning);
    require(png_ != nullptr, Cause{ErrorKind::memory}, "{}: libpng cannot start", where_);
    info_ = png_create_info_struct(png_);
  }
  ~PngDecoder() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngDecoder(const PngDecoder&) = delete;
  PngDecoder& operator=(const PngDecoder&) = delete;

  at::Tensor operator()() {
    guarded([this] {
      png_set_read_fn(png_, this, read);
      png_set_user_limits(png_, kLargestImage, kLargestImage);
      png_read_info(png_, info_);
    });
    const int64_t height = png_get_image_height(png_, info_), width = png_get_image_width(png_, info_);
    check_image_size(height, width, most_, where_);
    const int depth = png_get_bit_depth(png_, info_), color = png_get_color_type(png_, info_);
    require(depth < 16 || color != PNG_COLOR_TYPE_GRAY,
            "{}: this is a 16-bit grey PNG, which readers scale differently; save it with 8 bits", where_);
    require(height * static_cast<int64_t>(png_get_rowbytes(png_, info_)) <=
                kDeflateRatio * static_cast<int64_t>(bytes_.size()) + (int64_t{1} << 16),
            "{}: {} bytes cannot hold {} x {} pixels", where_, bytes_.size(), height, width);
    guarded([this] {
      png_set_expand(png_);  // palettes, fewer than 8 bits, and transparent colours to a channel
      png_set_strip_16(png_);
      png_set_gray_to_rgb(png_);
      png_set_interlace_handling(png_);
      png_read_update_info(png_, info_);
    });
    const int64_t channels = png_get_channels(png_, info_);
    require((channels == 3 || channels == 4) &&
                static_cast<int64_t>(png_get_rowbytes(png_, info_)) == width * channels,
            "{}: libpng gives {} channels", where_, channels);
    image_ = at::empty({height, width, channels}, at::kByte);
    rows_.resize(static_cast<size_t>(height));
    for (size_t row = 0; row < rows_.size(); ++row) {
      rows_[row] = image_.mutable_data_ptr<uint8_t>() + static_cast<int64_t>(row) * width * channels;
    }
    guarded([this] {
      png_read_image(png_, rows_.data());
      png_read_end(png_, info_);
    });
    if (channels == 4) {
      require(
          image_.select(2, 3).eq(255).all().item<bool>(),
          "{}: the image has transparent pixels, behind which readers put different colours; save it without "
          "transparency",
          where_);
    }
    png_bytep exif = nullptr;
    png_uint_32 size = 0;
    png_get_eXIf_1(png_, info_, &size, &exif);
    return upright(image_.narrow(2, 0, 3), exif == nullptr ? 1 : orientation_of({exif, size}));
  }

 private:
  template <typename Action>
  void guarded(const Action& action) {
    // NOLINTNEXTLINE(cert-err52-cpp)
    if (setjmp(png_jmpbuf(png_)) != 0) fail("{}: this PNG is damaged: {}", where_, printable(message_));
    action();
  }

  [[noreturn]] static void on_error(png_structp png, png_const_charp message) {
    auto* self = static_cast<PngDecoder*>(png_get_error_ptr(png));
    std::snprintf(self->message_, sizeof(self->message_), "%s", message);
    png_longjmp(png, 1);
  }
  static void on_warning(png_structp, png_const_charp) {}
  static void read(png_structp png, png_bytep to, size_t count) {
    auto* self = static_cast<PngDecoder*>(png_get_io_ptr(png));
    if (count > self->bytes_.size() - self->read_) png_error(png, "it ends too early");
    std::memcpy(to, self->bytes_.data() + self->read_, count);
    self->read_ += count;
  }

  std::span<const uint8_t> bytes_;
  const std::string& where_;
  int64_t most_;
  size_t read_ = 0;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  char message_[128] = {};
  at::Tensor image_;
  std::vector<png_bytep> rows_;
};

class JpegDecoder {
 public:
  JpegDecoder(std::span<const uint8_t> bytes, const std::string& where, int64_t most)
      : bytes_(bytes), where_(where), most_(most) {
    jpeg_.err = jpeg_std_error(&errors_);
    errors_.error_exit = on_error;
    errors_.emit_message = on_message;
    errors_.output_message = [](j_common_ptr) {};
    jpeg_.client_data = this;
    guarded([this] { jpeg_create_decompress(&jpeg_); });
    progress_.progress_monitor = on_progress;
    jpeg_.progress = &progress_;
  }
  ~JpegDecoder() { jpeg_destroy_decompress(&jpeg_); }
  JpegDecoder(const JpegDecoder&) = delete;
  JpegDecoder& operator=(const JpegDecoder&) = delete;

  at::Tensor operator()() {
    guarded([this] {
      jpeg_mem_src(&jpeg_, bytes_.data(), bytes_.size());
      jpeg_save_markers(&jpeg_, JPEG_APP0 + 1, 0xFFFF);
      jpeg_read_header(&jpeg_, TRUE);
    });
    const int64_t height = jpeg_.image_height, width = jpeg_.image_width;
    check_image_size(height, width, most_, where_);
    require(jpeg_.num_components == 1 || jpeg_.num_components == 3,
            "{}: this is a JPEG of {} components (CMYK), which readers convert differently; save it as RGB",
            where_, jpeg_.num_components);
    guarded([this] {
      jpeg_.out_color_space = JCS_RGB;
      jpeg_start_decompress(&jpeg_);
    });
    require(jpeg_.output_components == 3 && jpeg_.output_width == width && jpeg_.output_height == height,
            "{}: libjpeg gives {} components", where_, jpeg_.output_components);
    image_ = at::empty({height, width, 3}, at::kByte);
    const int turned = orientation();  // the end of decoding drops the markers
    guarded([this] {
      auto* const pixels = static_cast<uint8_t*>(image_.data_ptr());
      while (jpeg_.output_scanline < jpeg_.output_height) {
        JSAMPROW row = pixels + static_cast<size_t>(jpeg_.output_scanline) * jpeg_.output_width * 3;
        jpeg_read_scanlines(&jpeg_, &row, 1);
      }
      jpeg_finish_decompress(&jpeg_);
    });
    return upright(image_, turned);
  }

 private:
  int orientation() const {
    constexpr std::string_view kExif("Exif\0\0", 6);
    for (jpeg_saved_marker_ptr marker = jpeg_.marker_list; marker != nullptr; marker = marker->next) {
      const std::string_view data(reinterpret_cast<const char*>(marker->data), marker->data_length);
      if (data.starts_with(kExif)) {
        return orientation_of({marker->data + kExif.size(), data.size() - kExif.size()});
      }
    }
    return 1;
  }

  template <typename Action>
  void guarded(const Action& action) {
    // NOLINTNEXTLINE(cert-err52-cpp)
    if (setjmp(escape_) != 0) fail("{}: this JPEG is damaged: {}", where_, printable(message_));
    action();
  }

  static JpegDecoder& self(j_common_ptr jpeg) { return *static_cast<JpegDecoder*>(jpeg->client_data); }
  [[noreturn]] static void give_up(j_common_ptr jpeg) {
    char text[JMSG_LENGTH_MAX];
    jpeg->err->format_message(jpeg, text);
    std::snprintf(self(jpeg).message_, sizeof(self(jpeg).message_), "%s", text);
    // NOLINTNEXTLINE(cert-err52-cpp)
    std::longjmp(self(jpeg).escape_, 1);
  }
  [[noreturn]] static void on_error(j_common_ptr jpeg) { give_up(jpeg); }
  /// Warnings (level -1) are about lost pixels, but for these.
  static void on_message(j_common_ptr jpeg, int level) {
    if (level >= 0) return;
    const int code = jpeg->err->msg_code;
    if (code != JWRN_EXTRANEOUS_DATA && code != JWRN_TOO_MUCH_DATA && code != JWRN_ADOBE_XFORM) give_up(jpeg);
  }
  static void on_progress(j_common_ptr jpeg) {
    JpegDecoder& decoder = self(jpeg);
    if (decoder.jpeg_.input_scan_number <= kLargestScans) return;
    std::snprintf(decoder.message_, sizeof(decoder.message_), "it has more than %d scans", kLargestScans);
    // NOLINTNEXTLINE(cert-err52-cpp)
    std::longjmp(decoder.escape_, 1);
  }

  std::span<const uint8_t> bytes_;
  const std::string& where_;
  int64_t most_;
  jpeg_decompress_struct jpeg_ = {};
  jpeg_error_mgr errors_ = {};
  jpeg_progress_mgr progress_ = {};
  jmp_buf escape_;
  char message_[JMSG_LENGTH_MAX] = {};
  at::Tensor image_;
};

}  // namespace

void check_image_size(int64_t height, int64_t width, int64_t most, const std::string& where) {
  require(height >= 1 && width >= 1, "{}: the image has no pixels", where);
  require(height <= most / width, "{}: {} x {} pixels are too many; at most {} million are taken here", where,
          height, width, most / 1'000'000);
}

at::Tensor decode_image(std::span<const uint8_t> bytes, const std::string& where, int64_t most) {
  constexpr uint8_t kPng[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'}, kJpeg[] = {0xFF, 0xD8, 0xFF};
  const auto begins_with = [&](std::span<const uint8_t> magic) {
    return bytes.size() >= magic.size() && std::equal(magic.begin(), magic.end(), bytes.begin());
  };
  if (begins_with(kPng)) return PngDecoder(bytes, where, most)();
  if (begins_with(kJpeg)) return JpegDecoder(bytes, where, most)();
  fail("{}: this is no PNG or JPEG image", where);
}

at::Tensor read_image(const std::filesystem::path& path, int64_t most) {
  const MappedFile file(path);
  file.refuse_foreign();
  return decode_image(file.bytes(), printable(path.string()), most);
}

}  // namespace outliers::io
