// A report read back: results.json and, behind a zero byte, arrays.npz. What passes is drawn.
#include <ATen/ATen.h>

#include "outliers/report/compare.h"
#include "outliers/report/figures.h"
#include "outliers/report/page.h"
#include "outliers/report/results.h"

#include "fuzz/target.h"

using namespace outliers;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const fuzz::InputFolder folder;
  const auto [json, arrays] = fuzz::split(data, size);
  fuzz::write(folder.path() / "results.json", json.data(), json.size());
  fuzz::write(folder.path() / "arrays.npz", arrays.data(), arrays.size());
  fuzz::attempt([&] {
    std::vector<report::Results> reports;
    for (int i = 0; i < 2; ++i) reports.push_back(report::read_results(folder.path()));
    const report::Results& results = reports.front();
    for (const std::string& name : report::figure_names(results.data)) {
      fuzz::attempt([&] { report::make_figures(results, {name}); });
    }
    fuzz::attempt([&] { report::write_page(results, folder.path() / "page.html"); });
    fuzz::attempt([&] { report::comparison_text(reports, 0); });
  });
  return 0;
}
