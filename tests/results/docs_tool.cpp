// Writes results.schema.json and the tables of results.md in the folder that is given.
#include <iostream>

#include "outliers/core/error.h"
#include "outliers/results/json.h"

#include "docs.h"
#include "support.h"

int main(int argc, char** argv) {
  using namespace outliers;
  try {
    require(argc == 2, "usage: {} DOCS", argv[0]);
    const std::filesystem::path docs = argv[1];
    tests::write_file(docs / "results.schema.json", results::schema_text());
    tests::write_file(docs / "results.md", tests::with_tables(tests::read_file(docs / "results.md")));
  } catch (const Error& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
