#include "outliers/models/corpus_source.h"

#include "outliers/io/hub.h"

namespace outliers::models {

text::Corpus open_corpus(const std::filesystem::path& path, const std::string& text_field, bool keep_empty) {
  const std::string name = path.string();
  if (!io::is_hub_address(name)) return text::read_corpus(path, text_field, keep_empty);
  return text::read_corpus(name, io::fetch_data_set(name), text_field, keep_empty);
}

}  // namespace outliers::models
