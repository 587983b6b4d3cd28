// interventions.json; what passes is drawn, written, and has to be read again as the same.
#include <cstdlib>

#include "outliers/report/interventions.h"
#include "outliers/results/json.h"

#include "fuzz/target.h"

using namespace outliers;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const fuzz::InputFolder folder;
  fuzz::write(folder.path() / report::kInterventionsFile, data, size);
  std::string text;
  fuzz::attempt([&] {
    const results::Interventions read = report::read_interventions(folder.path());
    text = results::to_text(read, -1);
    report::make_intervention_figures(read, {});
    report::write_intervention_page(read, folder.path(), folder.path() / "page.html");
  });
  if (text.empty()) return 0;
  const fuzz::RegularFile again(text.data(), text.size());
  if (results::to_text(results::read_interventions(again.path()), -1) != text) std::abort();
  return 0;
}
