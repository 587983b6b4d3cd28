// The encoder of masked autoencoders (arXiv 2111.06377), a ViT. It is trained on a quarter of the patches and
// here sees all of them, as when it is put to use; the decoder is left out.
#include "outliers/models/families/table.h"

namespace outliers::models {

Family vit_family();

Family vit_mae_family() {
  Family f = vit_family();
  f.name = "vit_mae";
  f.model_types = {"vit_mae"};
  return f;
}

}  // namespace outliers::models
