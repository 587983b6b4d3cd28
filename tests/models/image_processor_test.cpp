// From image files to pixel values: resizing against Pillow, processors against transformers
// (tests/oracle/models_images.py), and the list of images that a command takes.
#include "outliers/models/image_processor.h"

#include <charconv>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "outliers/io/image.h"
#include "outliers/io/npz.h"

#include "json_mutations.h"
#include "models/golden_models.h"
#include "support.h"

namespace outliers::models {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(Resample, EqualsPillowByteByByte) {
  const io::NpzReader file(tests::golden("models/resample.npz"));
  size_t compared = 0;
  for (const std::string& name : file.names()) {
    const size_t dot = name.find('.');
    if (dot == std::string::npos) continue;
    int64_t filter = 0, height = 0, width = 0;
    ASSERT_EQ(std::sscanf(name.c_str() + dot, ".%ld.%ld.%ld", &filter, &height, &width), 3) << name;
    const at::Tensor got =
        resample(file.read(name.substr(0, dot)), height, width, static_cast<Filter>(filter));
    const at::Tensor wanted = file.read(name);
    ASSERT_EQ(got.sizes(), wanted.sizes()) << name;
    EXPECT_EQ((got.to(at::kInt) - wanted.to(at::kInt)).abs().max().item<int>(), 0) << name;
    ++compared;
  }
  EXPECT_EQ(compared, 84u);
}

std::string text_of(const at::Tensor& bytes) {
  return {reinterpret_cast<const char*>(bytes.const_data_ptr<uint8_t>()), static_cast<size_t>(bytes.numel())};
}

TEST(ImageProcessor, AgreesWithTransformers) {
  const io::NpzReader file(tests::golden("models/processors.npz"));
  size_t compared = 0;
  for (const std::string& name : file.names()) {
    if (!name.ends_with(".config")) continue;
    const std::string kind = name.substr(0, name.find('.'));
    const ImageProcessor processor = parse_image_processor(text_of(file.read(name)), name);
    const at::Tensor got = processor(file.read(kind + ".image"), kind),
                     wanted = file.read(kind + ".pixel_values");
    ASSERT_EQ(got.sizes(), wanted.sizes()) << name;
    EXPECT_EQ(got.scalar_type(), at::kFloat);
    EXPECT_LE((got - wanted).abs().max().item<double>(), 1e-6) << name;
    ++compared;
  }
  EXPECT_EQ(compared, 7u);
}

std::string error_of(const std::string& text) {
  return tests::error_of([&] { parse_image_processor(text, "p.json"); });
}

TEST(ImageProcessor, NamesWhatItDoesNotDo) {
  const auto vit = [](const std::string& extra) {
    return R"({"image_processor_type": "ViTImageProcessor")" + extra + "}";
  };
  EXPECT_EQ(parse_image_processor(vit(""), "p").width, 224);
  EXPECT_EQ(parse_image_processor(R"({"image_processor": )" + vit(R"(, "size": 32)") + "}", "p").height, 32);
  const std::string huge = "1" + std::string(30, '0');
  EXPECT_EQ(
      parse_image_processor(vit(R"(, "max_pixels": Infinity, "size": 8, "size": 32, "seed": )" + huge), "p")
          .height,
      32);
  EXPECT_THAT(error_of(vit(R"(, "image_std": NaN)")), HasSubstr("'image_std' should be"));
  EXPECT_THAT(error_of("[]"), HasSubstr("p.json: this is not a JSON object"));
  EXPECT_THAT(error_of("{}"), HasSubstr("'image_processor_type' is missing"));
  EXPECT_THAT(error_of(R"({"image_processor_type": "Pix2StructImageProcessor"})"),
              HasSubstr("'Pix2StructImageProcessor' is not known; known: ViT, CLIP and Bit's"));
  EXPECT_THAT(error_of(vit(R"(, "do_pad": true)")), HasSubstr("'do_pad' of true is not supported"));
  EXPECT_THAT(error_of(vit(R"(, "size": {"longest_edge": 9, "shortest_edge": 3})")),
              HasSubstr("size: 'longest_edge' is not supported"));
  EXPECT_THAT(error_of(vit(R"(, "size": {"height": 9})")), HasSubstr("'width' is missing"));
  EXPECT_THAT(error_of(vit(R"(, "size": 0)")), HasSubstr("'size' is 0"));
  EXPECT_THAT(error_of(vit(R"(, "size": 1000000)")), HasSubstr("not between 1 and 16384"));
  EXPECT_THAT(error_of(vit(R"(, "resample": 6)")), HasSubstr("'resample' of 6 is not known"));
  EXPECT_THAT(error_of(vit(R"(, "image_std": [1, 0, 1])")), HasSubstr("none to compute with"));
  EXPECT_THAT(error_of(vit(R"(, "image_mean": [1, 0])")), HasSubstr("'image_mean' should be three numbers"));
  const ImageProcessor wide = parse_image_processor(
      R"({"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 16384}})", "p");
  EXPECT_THAT(tests::error_of([&] {
                wide(at::zeros({1, 9, 3}, at::kByte), "a.png");
              }),
              HasSubstr("resized to 16384 x 147456, which are too many"));
}

TEST(ImageProcessor, ReadsOrRefusesWhatIsNoneOrOfAnotherType) {
  const char* full = R"({"image_processor_type": "CLIPImageProcessor", "do_resize": true,
      "size": {"height": 9, "width": 8}, "resample": 2, "do_center_crop": true, "crop_size": {"height": 7, "width": 6},
      "do_rescale": true, "rescale_factor": 0.5, "do_normalize": true, "image_mean": [0, 0, 0],
      "image_std": [1, 1, 1]})";
  tests::Mutations mutations;
  mutations.count(nlohmann::json::parse(full), "p.json",
                  [](const nlohmann::json& config) { parse_image_processor(config.dump(), "p.json"); });
  EXPECT_GT(mutations.read, 10u);
  EXPECT_GT(mutations.refused, 30u);
  nlohmann::json config = nlohmann::json::parse(full);
  config["size"] = nullptr;
  EXPECT_THAT(error_of(config.dump()), HasSubstr("'size' is null"));
  config["do_resize"] = nullptr;  // as false
  EXPECT_EQ(parse_image_processor(config.dump(), "p").resizes, false);
  for (const char* step : {"do_center_crop", "do_rescale", "do_normalize"}) config[step] = nullptr;
  const ImageProcessor nothing = parse_image_processor(config.dump(), "p");
  EXPECT_FALSE(nothing.crops || nothing.rescales || nothing.normalises);
}

TEST(ImageProcessor, TakesImagesOfAThousandTimesItsPixels) {
  const auto most = [](const std::string& more) {
    return parse_image_processor(R"({"image_processor_type": "ViTImageProcessor")" + more + "}", "p")
        .most_pixels();
  };
  EXPECT_EQ(most(R"(, "size": 224)"), 1024 * 224 * 224);
  EXPECT_EQ(most(R"(, "size": {"shortest_edge": 224})"), 1024 * 224 * 224);
  EXPECT_EQ(most(R"(, "size": {"height": 9, "width": 10})"), 1 << 22);
  EXPECT_EQ(most(R"(, "size": 16384)"), io::kLargestImage);
  EXPECT_EQ(most(R"(, "do_resize": false)"), io::kLargestImage);
  EXPECT_EQ(most(R"(, "do_resize": false, "do_center_crop": true, "crop_size": 224)"), 1024 * 224 * 224);
}

/// The tiny ViT, which takes 12 x 10 pixels, in a folder that can be written to.
class ImageFolder : public testing::Test {
 protected:
  ImageFolder() {
    for (const char* name : {"config.json", "model.safetensors"}) {
      std::filesystem::copy(tests::golden(std::string("models/vit_rectangle/") + name), scratch_ / name);
    }
    std::filesystem::create_directory(scratch_ / "images");
    model_ = Model::open(scratch_.path());
  }
  std::filesystem::path image(const std::string& name) { return scratch_ / ("images/" + name); }
  void add_processor() {
    tests::write_file(
        scratch_ / "preprocessor_config.json",
        R"({"image_processor_type": "ViTImageProcessor", "size": {"height": 12, "width": 10}})");
  }
  void add(const std::string& golden, const std::string& name) {
    std::filesystem::copy(tests::golden("io/images/" + golden), image(name));
  }
  /// As numpy.save writes it.
  void add_npy(const std::string& name, const at::Tensor& values, const char* descr) {
    std::string shape;
    for (const int64_t size : values.sizes()) shape += fmt::format("{}, ", size);
    std::string header =
        fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", descr, shape);
    header.resize(118, ' ');
    std::string bytes = std::string("\x93NUMPY\x01\x00v\x00", 10) + header;
    bytes.append(static_cast<const char*>(values.data_ptr()), values.nbytes());
    tests::write_file(image(name), bytes);
  }
  std::string error(const std::vector<std::filesystem::path>& paths) {
    return tests::error_of([&] { read_images(*model_, paths, 10); });
  }

  tests::ScratchDirectory scratch_;
  std::unique_ptr<Model> model_;
};

TEST_F(ImageFolder, ReadsFilesInOrderUpToALimit) {
  add_processor();
  add("rgb.png", "b.png");
  add("rgb.jpg", "a.JPG");
  add_npy("c.npy", at::rand({2, 3, 12, 10}), "<f4");
  add_npy("d.npy", at::randint(256, {7, 8, 3}, at::kByte), "|u1");
  tests::write_file(image("notes.txt"), "not an image");
  const Images all = read_images(*model_, {image("")}, 10);
  EXPECT_THAT(all.names, ElementsAre("a.JPG", "b.png", "c.npy[0]", "c.npy[1]", "d.npy"));
  EXPECT_EQ(all.pixels.sizes(), at::IntArrayRef({5, 3, 12, 10}));
  EXPECT_EQ(all.left_out, 0);
  const ImageProcessor processor = read_image_processor(scratch_.path());
  EXPECT_TRUE(at::equal(all.pixels[1], processor(io::read_image(image("b.png")), "b")));

  const Images some = read_images(*model_, {image("c.npy"), image("")}, 3);
  EXPECT_THAT(some.names, ElementsAre("c.npy[0]", "c.npy[1]", "a.JPG"));
  EXPECT_EQ(some.left_out, 3);
}

TEST_F(ImageFolder, TakesPixelValuesOfAnyFloat) {
  const at::Tensor values = at::linspace(-2, 2, 360).view({3, 12, 10});
  add_npy("half.npy", values.to(at::kHalf), "<f2");
  add_npy("double.npy", values.to(at::kDouble), "<f8");
  EXPECT_TRUE(
      at::equal(read_images(*model_, {image("half.npy")}, 9).pixels[0], values.to(at::kHalf).to(at::kFloat)));
  EXPECT_TRUE(at::equal(read_images(*model_, {image("double.npy")}, 9).pixels[0], values));
}

TEST_F(ImageFolder, NamesWhatCannotBeRead) {
  EXPECT_THAT(error({image("none.png")}), HasSubstr("none.png: no such file"));
  EXPECT_THAT(error({image("")}), HasSubstr("there is no .png, .jpg, .jpeg or .npy file in it"));
  add("rgb.png", "a.png");
  EXPECT_THAT(error({image("a.png")}), HasSubstr("there is no preprocessor_config.json beside the weights"));
  add_npy("small.npy", at::rand({3, 12, 9}), "<f4");
  EXPECT_THAT(error({image("small.npy")}), AllOf(HasSubstr("small.npy: 12 x 9 pixels (height x width)"),
                                                 HasSubstr("takes images of 12 x 10")));
  add_npy("planes.npy", at::rand({12, 10, 3}), "<f4");
  EXPECT_THAT(error({image("planes.npy")}),
              HasSubstr("the array is [12, 10, 3]; pixel values should be [3, H, W]"));
  add_npy("ints.npy", at::zeros({3, 12, 10}, at::kInt), "<i4");
  EXPECT_THAT(error({image("ints.npy")}), HasSubstr("the array is [3, 12, 10] of Int"));
  add_npy("nan.npy", at::full({3, 12, 10}, NAN), "<f4");
  EXPECT_THAT(error({image("nan.npy")}), HasSubstr("values that are not finite"));
  tests::write_file(image("broken.npy"), "\x93NUMPY");
  EXPECT_THAT(error({image("broken.npy")}), HasSubstr("broken.npy: the array is no .npy array"));
}

TEST(Images, OfARunAreOfOneSize) {
  const auto model = Model::open(tests::golden("models/dinov2_stretched/model.safetensors"));
  const tests::ScratchDirectory scratch;
  const io::NpzReader reference(tests::golden("models/dinov2_stretched/reference.npz"));
  for (const int64_t width : {15, 20}) {
    std::string header =
        fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': (3, 15, {}), }}", width);
    header.resize(118, ' ');
    tests::write_file(scratch / fmt::format("{}.npy", width),
                      std::string("\x93NUMPY\x01\x00v\x00", 10) + header +
                          std::string(static_cast<size_t>(180 * width), '\0'));
  }
  EXPECT_THAT(tests::error_of([&] { read_images(*model, {scratch.path()}, 9); }),
              HasSubstr("20.npy: 15 x 20 pixels (height x width), but 15.npy has 15 x 15"));
}

}  // namespace
}  // namespace outliers::models
