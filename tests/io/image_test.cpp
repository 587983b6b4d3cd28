// PNG and JPEG against Pillow (tests/oracle/io_images.py), and files that are not what they should be.
#include "outliers/io/image.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "outliers/core/error.h"
#include "outliers/io/npz.h"

#include "support.h"

namespace outliers::io {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

std::filesystem::path file(const std::string& name) {
  return tests::golden("io/images/" + name);
}

at::Tensor decode(const std::string& bytes) {
  return decode_image({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "image");
}

std::string error_of(const std::string& bytes) {
  return tests::error_of([&] { decode(bytes); });
}

TEST(Image, EqualsPillowByteByByte) {
  const NpzReader reference(file("images.npz"));
  EXPECT_EQ(reference.names().size(), 22u);
  for (const std::string& name : reference.names()) {
    const at::Tensor got = read_image(file(name)), wanted = reference.read(name);
    ASSERT_EQ(got.sizes(), wanted.sizes()) << name;
    EXPECT_TRUE(got.is_contiguous()) << name;
    EXPECT_EQ((got.to(at::kInt) - wanted.to(at::kInt)).abs().max().item<int>(), 0) << name;
  }
}

TEST(Image, RefusesWhatReadersTakeForDifferentPixels) {
  const auto error = [](const char* name) { return tests::error_of([&] { read_image(file(name)); }); };
  EXPECT_THAT(error("transparent.png"),
              AllOf(HasSubstr("transparent.png: "), HasSubstr("transparent pixels")));
  EXPECT_THAT(error("key.png"), HasSubstr("transparent pixels"));
  EXPECT_THAT(error("wide_grey.png"), HasSubstr("16-bit grey PNG"));
  EXPECT_THAT(error("cmyk.jpg"), HasSubstr("JPEG of 4 components (CMYK)"));
  EXPECT_THAT(error("images.npz"), HasSubstr("this is no PNG or JPEG image"));
}

TEST(Image, NamesFilesThatEndTooEarly) {
  for (const char* name :
       {"rgb.png", "interlaced.png", "palette.png", "rgb.jpg", "progressive.jpg", "grey.jpg"}) {
    const std::string whole = tests::read_file(file(name));
    const std::string format = name[std::string(name).size() - 3] == 'p' ? "PNG" : "JPEG";
    for (size_t size = 12; size + 2 < whole.size(); size += std::max<size_t>(1, whole.size() / 97)) {
      const std::string error = error_of(whole.substr(0, size));
      EXPECT_THAT(error, AllOf(HasSubstr("image: this " + format + " is damaged"), Not(HasSubstr("\n"))))
          << name << " cut at " << size;
    }
  }
}

TEST(Image, SurvivesFlippedBytes) {
  size_t refused = 0;
  for (const char* name :
       {"rgb.png", "palette.png", "turned.png", "rgb.jpg", "progressive.jpg", "orientation_6.jpg"}) {
    const std::string whole = tests::read_file(file(name));
    for (size_t place = 0; place < whole.size(); ++place) {
      for (const unsigned flip : {0x01U, 0x80U, 0xFFU}) {
        std::string bytes = whole;
        bytes[place] = static_cast<char>(static_cast<unsigned char>(bytes[place]) ^ flip);
        try {
          EXPECT_EQ(decode(bytes).size(2), 3);
        } catch (const Error& error) {
          EXPECT_THAT(error.what(), Not(HasSubstr("\n")));
          ++refused;
        }
      }
    }
  }
  EXPECT_GT(refused, 1000u);
}

/// rgb.png that claims another size in its header, with the right checksum.
std::string claiming(uint32_t width, uint32_t height) {
  std::string bytes = tests::read_file(file("rgb.png"));
  const auto put = [&](size_t at, uint32_t value) {
    for (int i = 0; i < 4; ++i) bytes[at + static_cast<size_t>(i)] = static_cast<char>(value >> (24 - 8 * i));
  };
  put(16, width);
  put(20, height);
  uint32_t crc = 0xFFFFFFFF;
  for (size_t i = 12; i < 29; ++i) {
    crc ^= static_cast<uint8_t>(bytes[i]);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320 : 0);
  }
  put(29, ~crc);
  return bytes;
}

TEST(Image, RefusesSizesBeforeItAllocates) {
  EXPECT_THAT(error_of(claiming(60000, 60000)), HasSubstr("60000 x 60000 pixels are too many"));
  EXPECT_THAT(error_of(claiming(0x7FFFFFFF, 0x7FFFFFFF)), HasSubstr("image: "));
  EXPECT_THAT(error_of(claiming(8000, 8000)), AllOf(HasSubstr("bytes cannot hold 8000 x 8000 pixels")));
  std::string jpeg = tests::read_file(file("rgb.jpg"));
  const size_t frame = jpeg.find("\xFF\xC0");
  ASSERT_NE(frame, std::string::npos);
  jpeg.replace(frame + 5, 4, "\xFF\x00\xFF\x00", 4);
  EXPECT_THAT(error_of(jpeg), HasSubstr("65280 x 65280 pixels are too many"));
  // A model's own limit.
  for (const char* name : {"rgb.jpg", "rgb.png"}) {
    const at::Tensor image = read_image(file(name));
    const int64_t pixels = image.size(0) * image.size(1);
    EXPECT_TRUE(at::equal(read_image(file(name), pixels), image));
    EXPECT_THAT(tests::error_of([&] { read_image(file(name), pixels - 1); }),
                HasSubstr("pixels are too many"));
  }
}

TEST(Image, EndsWithScansWithoutEnd) {
  // The last scan again and again, as a file of few bytes can ask for hours of work.
  std::string jpeg = tests::read_file(file("progressive.jpg"));
  const size_t scan = jpeg.rfind("\xFF\xDA"), end = jpeg.rfind("\xFF\xD9");
  std::string bytes = jpeg.substr(0, end);
  for (int i = 0; i < 300; ++i) bytes += jpeg.substr(scan, end - scan);
  EXPECT_THAT(error_of(bytes + "\xFF\xD9"), HasSubstr("this JPEG is damaged"));
}

}  // namespace
}  // namespace outliers::io
