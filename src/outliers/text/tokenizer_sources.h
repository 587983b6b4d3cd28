// What the readers of a tokenizer's files share.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "outliers/core/error.h"
#include "outliers/text/tokenizer.h"

namespace outliers::text {

std::unique_ptr<Tokenizer> from_tokenizer_json(const TokenizerFiles& files);
/// A SentencePiece model and what stands beside it.
std::unique_ptr<Tokenizer> from_pieces(const TokenizerFiles& files);

/// What `read` returns; an Error of a component, which knows no file, gets the name of the main one in front.
template <typename Read>
auto name_file(std::string_view folder, std::string_view file, Read&& read) {
  try {
    return read();
  } catch (const Interrupted&) {
    throw;
  } catch (const Error& error) {
    if (std::string_view(error.what()).starts_with(fmt::format("{}{}", folder, folder.empty() ? file : "")))
      throw;
    throw Error(fmt::format("{}{}: {}", folder, file, error.what()), error.cause());
  }
}

}  // namespace outliers::text
