// preprocessor_config.json: how an image becomes what a model reads. The steps of transformers' image
// processors in their form on Pillow, in their order: resize, crop, rescale, normalise.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include "outliers/models/model.h"
#include "outliers/models/resample.h"

namespace outliers::models {

struct ImageProcessor {
  bool resizes = true;
  int64_t shortest_edge = 0;  ///< of the resized image, whose shape is kept; 0: height and width are given
  int64_t height = 0, width = 0;
  Filter filter = Filter::bilinear;
  bool crops = false;  ///< the centre; where it is larger than the image, with zeros around that
  int64_t crop_height = 0, crop_width = 0;
  bool rescales = true;
  double factor = 1.0 / 255.0;
  bool normalises = true;
  std::vector<double> mean, std;

  /// Images of more pixels are refused before they are decoded: 1024 times those of what the model reads, but
  /// at least 4 million and at most io::kLargestImage.
  int64_t most_pixels() const;
  /// image uint8 [H,W,3] -> float32 [3,h,w]. Throws for images whose resized form would be too large.
  at::Tensor operator()(const at::Tensor& image, const std::string& where) const;
};

/// `text` is the file's content. Throws for kinds of processors and steps that are not known here.
ImageProcessor parse_image_processor(std::string_view text, const std::string& where);
/// From preprocessor_config.json, or processor_config.json, in a checkpoint's directory.
ImageProcessor read_image_processor(const std::filesystem::path& directory);

struct Images {
  at::Tensor pixels;               ///< float32 [N,3,H,W]
  std::vector<std::string> names;  ///< by image: the file's name; "name[3]" of an .npy of several
  int64_t left_out = 0;            ///< files beyond the limit, not read
};

/// Reads the images of `paths` for a model: PNG and JPEG by its processor; .npy of floats, [3,H,W] or
/// [N,3,H,W], as they are; .npy of uint8, [H,W,3], by the processor. Directories stand for the files in them
/// that end so, in the order of their names. At most `limit` images. Throws where there is none, or one is of
/// another size than the first.
Images read_images(const Model& model, const std::vector<std::filesystem::path>& paths, int64_t limit);

}  // namespace outliers::models
