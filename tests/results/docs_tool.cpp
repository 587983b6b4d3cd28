// Writes the schemas and the tables of the pages in the folder that is given.
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
    for (const tests::DocumentedFile& file : tests::kDocumentedFiles) {
      tests::write_file(docs / file.schema, results::schema_text(file.file));
      tests::write_file(docs / file.page, tests::with_tables(tests::read_file(docs / file.page), file.file));
    }
  } catch (const Error& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
