// Where a corpus lies: here, or in a data set on the Hub.
#pragma once

#include <filesystem>
#include <string>

#include "outliers/text/corpus.h"

namespace outliers::models {

/// As text::read_corpus, and hf://datasets/ORG/NAME[@REVISION]/FILE (io::fetch_data_set), whose files are one
/// corpus in the order of their names.
text::Corpus open_corpus(const std::filesystem::path& path, const std::string& text_field = "",
                         bool keep_empty = false);

}  // namespace outliers::models
