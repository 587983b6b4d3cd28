#include "outliers/report/inspect_text.h"

#include <fmt/format.h>

#include "outliers/core/error.h"
#include "outliers/core/table.h"
#include "outliers/report/numbers.h"

namespace outliers::report {
namespace {

using nlohmann::ordered_json;

std::string yes(const ordered_json& flag, const char* text) {
  return flag.get<bool>() ? fmt::format(", {}", text) : "";
}

std::string join(const ordered_json& shape) {
  std::string text;
  for (const auto& size : shape) text += fmt::format("{}{}", text.empty() ? "" : " x ", size.get<int64_t>());
  return text.empty() ? "scalar" : text;
}

std::string attention(const ordered_json& model, const ordered_json& traits) {
  std::string text = fmt::format("{} heads, {} key/value heads, width {}", model["heads"].get<int64_t>(),
                                 model["kv_heads"].get<int64_t>(), model["head_width"].get<int64_t>());
  text += yes(traits["qk_norm"], "QK-norm") + yes(traits["attention_bias"], "biases on q, k, v");
  if (!traits["causal"].get<bool>()) text += ", not causal";
  if (traits["positions"] != "rotary")
    text += fmt::format(", {} positions", traits["positions"].get<std::string>());
  if (traits["attention_softcap"] != 0.0)
    text += fmt::format(", soft-cap {}", traits["attention_softcap"].get<double>());
  if (traits["sliding_layers"] != 0) {
    text += fmt::format(", window of {} tokens in {} of {} layers", traits["sliding_window"].get<int64_t>(),
                        traits["sliding_layers"].get<int64_t>(), model["layers"].get<int64_t>());
  }
  for (const auto& rotary : traits["rotary"]) {
    text += fmt::format(", rotary base {:g}", rotary["base"].get<double>());
    if (rotary["scaling"] != "none") {
      text += fmt::format(" ({} scaling, factor {:g})", rotary["scaling"].get<std::string>(),
                          rotary["factor"].get<double>());
    }
  }
  return text;
}

// "BOS <s> (1), no EOS: the post-processor of tokenizer.json decides"
std::string additions(const ordered_json& adds) {
  const auto side = [&](const char* name, const ordered_json& tokens) {
    std::string text;
    for (const auto& token : tokens)
      text +=
          fmt::format(" {} ({})", printable(token["text"].get<std::string>()), token["id"].get<int64_t>());
    return tokens.empty() ? fmt::format("no {}", name) : name + text;
  };
  return fmt::format("{}, {}: {}", side("BOS", adds["before"]), side("EOS", adds["after"]),
                     adds["reason"].get<std::string>());
}

// "224 x 224 pixels, 16 x 16 a patch: CLS, 4 registers, 14 x 14 patches"
std::string vision(const ordered_json& v) {
  const auto size = [&](const char* key) { return v[key].get<int64_t>(); };
  const int64_t registers = size("registers");
  return fmt::format(
      "{} x {} pixels (height x width), {} x {} a patch: CLS, {}{} x {} patches", size("image_height"),
      size("image_width"), size("patch_height"), size("patch_width"),
      registers > 0 ? fmt::format("{} register{}, ", registers, registers == 1 ? "" : "s") : "",
      size("image_height") / size("patch_height"), size("image_width") / size("patch_width"));
}

}  // namespace

std::string inspect_text(const ordered_json& d, size_t width) {
  const auto line = [&](const char* label, const std::string& text) { return labelled(label, text, width); };
  std::string text;
  if (d.contains("model")) {
    const ordered_json& model = d["model"];
    const ordered_json& traits = d["traits"];
    text += line("model", fmt::format("{}", model["name"].get<std::string>()));
    text += line("family", fmt::format("{}, {} parameters, {} in {}", model["family"].get<std::string>(),
                                       count(model["parameters"]), bytes(model["weight_bytes"].get<double>()),
                                       model["format"].get<std::string>()));
    const bool images = model.contains("vision");
    text +=
        line("sizes", fmt::format("L {} layers, D {} width, F {} MLP width, {}{} positions",
                                  model["layers"].get<int64_t>(), model["width"].get<int64_t>(),
                                  model["mlp_width"].get<int64_t>(),
                                  images ? "" : fmt::format("V {} vocabulary, ", count(model["vocabulary"])),
                                  count(model["positions"])));
    if (images) text += line("images", vision(model["vision"]));
    text += line("attention", attention(model, traits));
    text += line(
        "MLP", fmt::format("{}{}, {} norm, epsilon {:g}{}{}", traits["activation"].get<std::string>(),
                           traits["gated_mlp"].get<bool>() ? " with a gate" : "",
                           traits["norm"].get<std::string>(), traits["norm_epsilon"].get<double>(),
                           yes(traits["sandwich_norms"], "norms after attention and MLP too") +
                               yes(traits["parallel"], "in parallel with attention") +
                               yes(traits["layer_scale"], "LayerScale"),
                           yes(traits["tied_embeddings"], "tied embeddings") +
                               yes(!images && !traits["head"].get<bool>(), "no head: there are no logits")));
    if (model.contains("experts")) {
      const ordered_json& experts = model["experts"];
      const int64_t shared = experts["shared_width"];
      text +=
          line("experts", fmt::format("E {}, k {} of them for a token; Fe {} neurons{}; in {} of {} layers",
                                      experts["count"].get<int64_t>(), experts["used"].get<int64_t>(),
                                      experts["width"].get<int64_t>(),
                                      shared > 0 ? fmt::format(", Fs {} of the shared one", shared) : "",
                                      experts["layers"].get<int64_t>(), model["layers"].get<int64_t>()));
    }
    if (images) {
      // They have none, and need none.
    } else if (d["tokenizer"].is_null()) {
      text += line("tokenizer", "none in the checkpoint");
    } else {
      std::string roles, others;
      size_t more = 0;
      for (const auto& token : d["tokenizer"]["special_tokens"]) {
        const std::string role = token["role"], name = printable(token["text"].get<std::string>());
        if (!role.empty()) {
          roles +=
              fmt::format("{}{} {} ({})", roles.empty() ? "" : ", ", role, name, token["id"].get<int64_t>());
        } else if (others.size() < 120) {
          others += fmt::format("{}{} ({})", others.empty() ? "" : ", ", name, token["id"].get<int64_t>());
        } else {
          ++more;
        }
      }
      if (more > 0) others += fmt::format(", and {} more", more);
      text += line("tokenizer", d["tokenizer"]["description"]);
      text += line("adds", additions(d["tokenizer"]["adds"]));
      text += line("special", roles + (roles.empty() || others.empty() ? "" : "; ") + others);
    }
  } else {
    text += line("checkpoint",
                 fmt::format("{}, {} of {}", d["path"].get<std::string>(),
                             bytes(d["weight_bytes"].get<double>()), d["format"].get<std::string>()));
  }
  std::string encodings;
  for (const auto& e : d["encodings"]) {
    encodings +=
        fmt::format("{}{} ({} tensors, {})", encodings.empty() ? "" : ", ", e["encoding"].get<std::string>(),
                    e["tensors"].get<int64_t>(), bytes(e["bytes"].get<double>()));
  }
  text += line("encodings", encodings) + "\n";

  std::vector<std::vector<std::string>> rows;
  for (const auto& t : d["tensors"]) {
    rows.push_back({printable(t["name"]), join(t["shape"]), t["encoding"], bytes(t["bytes"].get<double>())});
  }
  return text + table({"tensor", "shape", "encoding", "size"}, rows, width);
}

}  // namespace outliers::report
