// Files beside tokenizer.json or a SentencePiece model, and the classes that they name: ids equal to
// AutoTokenizer's, or a refusal that names why. The goldens are written by tests/oracle/text_beside.py.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "outliers/text/auto_class.h"
#include "outliers/text/tokenizer_class.h"

#include "golden.h"

namespace outliers::text {
namespace {

using Json = nlohmann::ordered_json;  // the order of keys is that of new ids

TokenizerFiles files_of(const Json& row) {
  const auto text = [&](const char* file) {
    if (!row["files"].contains(file)) return std::string();
    return row["files"][file].is_string() ? row["files"][file].get<std::string>() : row["files"][file].dump();
  };
  return {.config_json = text("config.json"),
          .tokenizer_json = text("tokenizer.json"),
          .tokenizer_config_json = text("tokenizer_config.json"),
          .special_tokens_map_json = text("special_tokens_map.json"),
          .added_tokens_json = text("added_tokens.json"),
          .vocab_json = text("vocab.json"),
          .merges_txt = text("merges.txt")};
}

TEST(FilesBesideTokenizerJson, GiveTheIdsOfAutoTokenizer) {
  int compared = 0;
  std::istringstream lines(read_golden("beside.jsonl.gz"));
  for (std::string line; std::getline(lines, line);) {
    const auto row = Json::parse(line);
    const auto name = row["name"].get<std::string>();
    const TokenizerFiles files = files_of(row);
    std::unique_ptr<Tokenizer> tokenizer;
    ASSERT_NO_THROW(tokenizer = Tokenizer::from_files(files)) << name;
    for (size_t i = 0; i < row["texts"].size(); ++i) {
      EXPECT_EQ(tokenizer->encode(row["texts"][i].get<std::string>()),
                row["ids"][i].get<std::vector<int32_t>>())
          << name << ": " << row["texts"][i];
      ++compared;
    }
  }
  EXPECT_GT(compared, 1500);
}

// What AutoTokenizer opens but this program does not has to be said in so many words; "": equal ids.
std::string refused_for(const Json& row) {
  const auto name = row["class"].get<std::string>();
  const TokenizerClass* const own = find_class(name);
  if (name != "TokenizersBackend" && (own == nullptr || own->pieces == TokenizerClass::Pieces::none))
    return name;
  if (row["file"] == "spiece.model" && name != "T5Tokenizer") return "transformers looks for tokenizer.model";
  if (row["name"].get<std::string>().find("two pieces equally") != std::string::npos && own == nullptr)
    return "more than one id";
  return "";
}

TEST(FilesBesideSentencePiece, GiveTheIdsOfAutoTokenizerOrAreRefused) {
  const Json golden = Json::parse(read_golden("pieces.json.gz"));
  std::map<std::string, std::string> models;
  for (const auto& [name, bytes] : golden["models"].items())
    models[name] = bytes_of(bytes.get<std::string>());
  int equal = 0, refused = 0, unopened = 0;
  for (const Json& row : golden["rows"]) {
    const auto name = row["name"].get<std::string>();
    const auto model = row["model"].get<std::string>();
    if (models.count(model) == 0) models[model] = read_golden(model + ".model");
    TokenizerFiles files = files_of(row);
    files.sentencepiece_model = models[model];
    files.sentencepiece_name = row["file"].get<std::string>();
    const std::string reason = row["class"].is_null() ? "" : refused_for(row);
    if (row["class"].is_null() || !reason.empty()) {
      EXPECT_THAT(tests::error_of([&] { Tokenizer::from_files(files); }), testing::HasSubstr(reason)) << name;
      ++(row["class"].is_null() ? unopened : refused);
      continue;
    }
    std::unique_ptr<Tokenizer> tokenizer;
    ASSERT_NO_THROW(tokenizer = Tokenizer::from_files(files)) << name;
    const Json& ids = golden["ids"][row["ids"].get<size_t>()];
    for (size_t i = 0; i < ids.size(); ++i) {
      const auto text = golden["texts"][i].get<std::string>();
      if (ids[i].is_null()) {
        EXPECT_THROW(tokenizer->encode(text), Error) << name << ": " << text;
      } else {
        EXPECT_EQ(tokenizer->encode(text), ids[i].get<std::vector<int32_t>>()) << name << ": " << text;
      }
    }
    ++equal;
  }
  EXPECT_GE(equal, 1439);
  EXPECT_LE(refused, 106);
  EXPECT_GE(unopened, 145);
}

TEST(FilesBesideTokenizerJson, AreNotReadWhereTheModelsTypeHasAnUnsupportedClass) {
  const Json golden = Json::parse(read_golden("pieces.json.gz"));
  std::istringstream lines(read_golden("beside.jsonl.gz"));
  std::string line;
  std::getline(lines, line);
  TokenizerFiles files = {.tokenizer_json = files_of(Json::parse(line)).tokenizer_json};
  int refused = 0;
  for (const auto& [type, expected] : golden["model_types"].items()) {
    const auto name = expected[0].get<std::string>();
    if (!is_foreign_class(name)) continue;
    files.config_json = fmt::format(R"({{"model_type": "{}"}})", type);
    files.tokenizer_config_json = "{}";
    const std::string message = tests::error_of([&] { Tokenizer::from_files(files); });
    EXPECT_THAT(message, testing::HasSubstr(name)) << type;
    EXPECT_THAT(message, testing::HasSubstr(type)) << type;
    if (!expected[1].get<bool>()) {  // else the type counts for more than what is named
      files.tokenizer_config_json = R"({"tokenizer_class": "TokenizersBackend"})";
      EXPECT_NO_THROW(Tokenizer::from_files(files)) << type;
    }
    ++refused;
  }
  EXPECT_GT(refused, 50);
}

TEST(AutoClasses, AreThoseOfTransformers) {
  const Json golden = Json::parse(read_golden("pieces.json.gz"));
  for (const auto& [type, expected] : golden["model_types"].items()) {
    const auto found = class_of_model_type(type);
    ASSERT_TRUE(found) << type;
    EXPECT_EQ(found->name, expected[0].get<std::string>()) << type;
    EXPECT_EQ(found->wins, expected[1].get<bool>()) << type;
  }
  for (const Json& known : golden["known"]) {
    const auto name = known.get<std::string>();
    // ParakeetTokenizer has no pipeline of its own.
    EXPECT_EQ(find_class(name) != nullptr || is_foreign_class(name), name != "ParakeetTokenizer") << name;
  }
  for (const char* none : {"", "llama", "gemma2 gemma3", "gemm", "baichuan"})
    EXPECT_FALSE(class_of_model_type(none)) << none;
  EXPECT_GT(golden["model_types"].size(), 200u);
}

}  // namespace
}  // namespace outliers::text
