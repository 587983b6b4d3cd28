#include "outliers/models/image_processor.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "outliers/core/error.h"
#include "outliers/core/interrupt.h"
#include "outliers/core/json.h"
#include "outliers/core/progress.h"
#include "outliers/core/regular_file.h"
#include "outliers/core/shape.h"
#include "outliers/io/image.h"
#include "outliers/io/npz.h"
#include "outliers/models/hugging_face_fields.h"
#include "outliers/models/patch_grid.h"

namespace outliers::models {

namespace fs = std::filesystem;

namespace {

using nlohmann::json;

/// What a processor does where its file leaves a key out. A number as `size` is the shortest edge or both.
struct Kind {
  const char* name;  ///< less ImageProcessor, FeatureExtractor and what follows
  const char* defaults;
  bool number_is_square;
};
constexpr Kind kKinds[] = {
    {"ViT",
     R"({"resample": 2, "rescale_factor": 0.00392156862745098, "size": {"height": 224, "width": 224}, "do_center_crop": false,
                "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]})",
     true},
    {"CLIP",
     R"({"resample": 3, "rescale_factor": 0.00392156862745098, "size": {"shortest_edge": 224}, "do_center_crop": true, "crop_size": 224,
                 "image_mean": [0.48145466, 0.4578275, 0.40821073],
                 "image_std": [0.26862954, 0.26130258, 0.27577711]})",
     false},
    {"Bit",
     R"({"resample": 3, "rescale_factor": 0.00392156862745098, "size": {"shortest_edge": 224}, "do_center_crop": true, "crop_size": 224,
                "image_mean": [0.48145466, 0.4578275, 0.40821073],
                "image_std": [0.26862954, 0.26130258, 0.27577711]})",
     false},
};

const Kind& kind_of(const Fields& fields) {
  std::string type = fields.string("image_processor_type", fields.string("feature_extractor_type"));
  require(!type.empty(), "{}: 'image_processor_type' is missing", fields.where());
  const std::string full = type;
  for (const std::string_view ending : {"Fast", "Pil", "ImageProcessor", "FeatureExtractor"}) {
    if (type.ends_with(ending)) type.resize(type.size() - ending.size());
  }
  for (const Kind& kind : kKinds) {
    if (type == kind.name) return kind;
  }
  fail(kUnsupported,
       "{}: the image processor '{}' is not known; known: ViT, CLIP and Bit's; give .npy files of what it "
       "makes",
       fields.where(), printable(full));
}

/// Edges of images are positive, and small enough for a product of two.
int64_t edge(const Fields& fields, const char* key) {
  const int64_t value = fields.integer(key);
  require(value >= 1 && value <= 16384, "{}: '{}' is {}, which is not between 1 and 16384", fields.where(),
          key, value);
  return value;
}

void read_size(const Fields& fields, const Kind& kind, ImageProcessor& processor) {
  if (!fields.value("size", "a number or an object").is_object()) {
    (kind.number_is_square ? processor.height : processor.shortest_edge) = edge(fields, "size");
    processor.width = processor.height;
    return;
  }
  const Fields size = fields.object("size");
  for (const char* key : {"longest_edge", "max_height", "max_width"}) {
    require(!size.has(key), kUnsupported, "{}: '{}' is not supported; known: height and width, shortest_edge",
            size.where(), key);
  }
  if (size.has("shortest_edge")) {
    processor.shortest_edge = edge(size, "shortest_edge");
  } else {
    processor.height = edge(size, "height");
    processor.width = edge(size, "width");
  }
}

std::vector<double> three(const Fields& fields, const char* key) {
  const json& value = fields.value(key, "three numbers");
  const std::vector<double> values =
      value.is_array() ? fields.numbers(key) : std::vector<double>(3, fields.number(key));
  require(values.size() == 3 &&
              std::all_of(values.begin(), values.end(), [](double x) { return std::isfinite(x); }),
          "{}: '{}' should be three numbers", fields.where(), key);
  return values;
}

/// image [H,W,3]; the part in its middle, zeros where there is nothing.
at::Tensor center_crop(const at::Tensor& image, int64_t height, int64_t width) {
  const auto along = [](const at::Tensor& x, int64_t dim, int64_t wanted) {
    const int64_t size = x.size(dim);
    if (wanted <= size) return x.narrow(dim, (size - wanted) / 2, wanted);
    std::vector<int64_t> shape = x.sizes().vec();
    shape[static_cast<size_t>(dim)] = wanted;
    at::Tensor larger = at::zeros(shape, x.options());
    larger.narrow(dim, (wanted - size + 1) / 2, size).copy_(x);
    return larger;
  };
  return along(along(image, 0, height), 1, width);
}

bool is_npy(const fs::path& path) {
  return path.extension() == ".npy";
}

bool is_image_name(const fs::path& path) {
  std::string ending = path.extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return ending == ".png" || ending == ".jpg" || ending == ".jpeg" || ending == ".npy";
}

std::vector<fs::path> files_of(const std::vector<fs::path>& paths) {
  std::vector<fs::path> files;
  for (const fs::path& path : paths) {
    const std::string name = printable(path.string());
    require(fs::exists(path), not_read(ENOENT), "{}: no such file or directory", name);
    if (!fs::is_directory(path)) {
      files.push_back(path);
      continue;
    }
    std::vector<fs::path> inside;
    for (const auto& entry : fs::directory_iterator(path)) {
      if (entry.is_regular_file() && is_image_name(entry.path())) inside.push_back(entry.path());
    }
    require(!inside.empty(), not_read(ENOENT), "{}: there is no .png, .jpg, .jpeg or .npy file in it", name);
    std::sort(inside.begin(), inside.end());
    files.insert(files.end(), inside.begin(), inside.end());
  }
  require(!files.empty(), kArgument, "there is no image");
  return files;
}

/// Pixel values that need no processor, float32 [N,3,H,W].
at::Tensor ready_made(const at::Tensor& array, const std::string& where) {
  const bool single = array.dim() == 3;
  require((single || array.dim() == 4) && array.size(single ? 0 : 1) == 3 && array.numel() > 0,
          "{}: the array is {}; pixel values should be [3, H, W] or [N, 3, H, W]", where,
          shape_string(array.sizes()));
  const at::Tensor values = (single ? array.unsqueeze(0) : array).to(at::kFloat);
  require(at::isfinite(values).all().item<bool>(), "{}: there are values that are not finite", where);
  return values;
}

}  // namespace

int64_t ImageProcessor::most_pixels() const {
  const int64_t input = resizes ? (shortest_edge > 0 ? shortest_edge * shortest_edge : height * width)
                        : crops ? crop_height * crop_width
                                : io::kLargestImage;
  // A photograph has some hundred times the pixels of what models read, seldom a thousand times.
  constexpr int64_t ratio = 1024, always = int64_t{1} << 22;
  return std::clamp(ratio * std::min(input, io::kLargestImage), always, io::kLargestImage);
}

at::Tensor ImageProcessor::operator()(const at::Tensor& image, const std::string& where) const {
  at::Tensor x = image;
  if (resizes) {
    int64_t new_height = height, new_width = width;
    if (shortest_edge > 0) {
      const int64_t H = image.size(0), W = image.size(1);
      const auto longest = static_cast<int64_t>(static_cast<double>(shortest_edge * std::max(H, W)) /
                                                static_cast<double>(std::min(H, W)));
      new_height = W <= H ? longest : shortest_edge;
      new_width = W <= H ? shortest_edge : longest;
    }
    require(new_height <= io::kLargestImage / new_width,
            "{}: an image of {} x {} pixels would be resized to {} x {}, which are too many", where,
            image.size(0), image.size(1), new_height, new_width);
    x = resample(x, new_height, new_width, filter);
  }
  if (crops) x = center_crop(x, crop_height, crop_width);
  x = x.permute({2, 0, 1}).contiguous();
  // The product is rounded to float32 once, the rest is float32, as in transformers.
  at::Tensor values = rescales ? (x.to(at::kDouble) * factor).to(at::kFloat) : x.to(at::kFloat);
  if (!normalises) return values;
  const auto of_channels = [](const std::vector<double>& list) {
    return at::tensor(list, at::kDouble).to(at::kFloat).view({3, 1, 1});
  };
  return values.sub_(of_channels(mean)).div_(of_channels(std));
}

ImageProcessor parse_image_processor(std::string_view text, const std::string& where) {
  json root = parse_json<json>(text, where);
  require(root.is_object(), "{}: this is not a JSON object", where);
  // processor_config.json has several processors.
  if (const auto inner = root.find("image_processor"); inner != root.end() && inner->is_object()) {
    json only = *inner;
    root = std::move(only);
  }
  const Fields bare(root, nullptr, where);
  const Kind& kind = kind_of(bare);
  const json defaults = json::parse(kind.defaults);
  const Fields fields(root, &defaults, where);
  fields.require_only(R"({"do_pad": false, "do_flip_channel_order": false, "do_thumbnail": false,
                          "do_align_long_axis": false, "use_square_size": false})");
  ImageProcessor processor;
  // A null switches a step off, and is an error in what a step needs, as in transformers.
  processor.resizes = fields.truth("do_resize", true);
  if (processor.resizes) {
    read_size(fields, kind, processor);
    const int64_t filter = fields.integer("resample");
    require(filter >= 0 && filter <= 5, kUnsupported,
            "{}: 'resample' of {} is not known; known: 0 to 5, by Pillow's numbers", where, filter);
    processor.filter = static_cast<Filter>(filter);
  }
  processor.crops = fields.truth("do_center_crop", false);
  if (processor.crops) {
    if (fields.value("crop_size", "a number or an object").is_object()) {
      const Fields crop = fields.object("crop_size");
      processor.crop_height = edge(crop, "height");
      processor.crop_width = edge(crop, "width");
    } else {
      processor.crop_height = processor.crop_width = edge(fields, "crop_size");
    }
  }
  processor.rescales = fields.truth("do_rescale", true);
  if (processor.rescales) processor.factor = fields.number("rescale_factor");
  processor.normalises = fields.truth("do_normalize", true);
  if (processor.normalises) {
    processor.mean = three(fields, "image_mean");
    processor.std = three(fields, "image_std");
  }
  require(std::isfinite(processor.factor) &&
              std::none_of(processor.std.begin(), processor.std.end(), [](double x) { return x == 0; }),
          "{}: 'rescale_factor' or 'image_std' is none to compute with", where);
  return processor;
}

ImageProcessor read_image_processor(const fs::path& directory) {
  for (const char* name : {"preprocessor_config.json", "processor_config.json"}) {
    const fs::path file = directory / name;
    if (fs::exists(file)) return parse_image_processor(read_own(file), printable(file.string()));
  }
  fail(
      "{}: there is no preprocessor_config.json beside the weights, which says how an image becomes pixel "
      "values; "
      "give .npy files of [3, H, W]",
      printable(directory.string()));
}

Images read_images(const Model& model, const std::vector<fs::path>& paths, int64_t limit) {
  std::optional<ImageProcessor> processor;
  Images images;
  std::vector<at::Tensor> parts;
  const auto read_processor = [&] {
    if (!processor) processor = read_image_processor(model.checkpoint().directory());
  };
  const auto add = [&](const at::Tensor& pixels, const std::string& name, const std::string& where) {
    if (!parts.empty() && pixels.sizes().slice(1) != parts.front().sizes().slice(1)) {
      fail(
          "{}: {} x {} pixels (height x width), but {} has {} x {}; all images of a run should be of one "
          "size",
          where, pixels.size(2), pixels.size(3), printable(images.names.front()), parts.front().size(2),
          parts.front().size(3));
    }
    patch_grid(model.config(), pixels.size(2), pixels.size(3), where);
    const int64_t count = std::min(pixels.size(0), limit - static_cast<int64_t>(images.names.size()));
    images.left_out += pixels.size(0) - count;
    if (count == 0) return;
    parts.push_back(pixels.narrow(0, 0, count));
    for (int64_t i = 0; i < count; ++i) {
      images.names.push_back(pixels.size(0) == 1 ? name : fmt::format("{}[{}]", name, i));
    }
  };
  const std::vector<fs::path> files = files_of(paths);
  const int64_t wanted = std::min(limit, static_cast<int64_t>(files.size()));
  Progress progress("images", wanted, "files");
  for (const fs::path& file : files) {
    check_interrupt();
    if (static_cast<int64_t>(images.names.size()) >= limit) {
      ++images.left_out;
      continue;
    }
    const std::string where = printable(file.string()), name = file.filename().string();
    at::Tensor image;  // uint8 [H,W,3]
    if (is_npy(file)) {
      image = io::read_npy(file);
      if (image.is_floating_point()) {
        add(ready_made(image, where), name, where);
        progress.advance();
        continue;
      }
      require(image.scalar_type() == at::kByte && image.dim() == 3 && image.size(2) == 3 && image.numel() > 0,
              "{}: the array is {} of {}; known: floats [3, H, W] or [N, 3, H, W], and uint8 [H, W, 3]",
              where, shape_string(image.sizes()), toString(image.scalar_type()));
      read_processor();
      io::check_image_size(image.size(0), image.size(1), processor->most_pixels(), where);
    } else {
      read_processor();
      image = io::read_image(file, processor->most_pixels());
    }
    add((*processor)(image, where).unsqueeze(0), name, where);
    progress.advance();
  }
  images.pixels = at::cat(parts);
  return images;
}

}  // namespace outliers::models
