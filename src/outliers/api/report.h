// What a survey found, and the files of a report: writing one, reading one back, drawing it, and several side
// by side.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "outliers/core/export.h"
#include "outliers/results/intervention.h"
#include "outliers/results/perplexity.h"
#include "outliers/results/results.h"

namespace outliers {

/// How figures are drawn (docs/figures.md).
struct FigureOptions {
  std::string palette = "paper";                             ///< one of figure_palettes()
  std::vector<std::string> formats = {"pdf", "svg", "png"};  ///< of figure_formats()
  std::vector<std::string> names;                            ///< of Report::figure_names(); none: all
};
OUTLIERS_API std::vector<std::string> figure_palettes();
OUTLIERS_API std::vector<std::string> figure_formats();

/// What stands in a report's directory beside results.json and arrays.npz.
struct ReportOptions {
  bool page = true;      ///< index.html
  bool figures = true;   ///< figures/; where they cannot be drawn, a warning says why, and the rest is there
  bool replace = false;  ///< a directory that holds a report, or is empty
};

struct OUTLIERS_API Survey {
  results::Results results;
  std::vector<std::pair<std::string, at::Tensor>> arrays;  ///< of docs/results.md, by name; on the CPU

  /// ReportDirectory(directory, options.replace).write(*this, options).
  std::vector<std::string> write(const std::filesystem::path& directory,
                                 const ReportOptions& options = {}) const;
};

/// The place of a report that is still to be made. It is taken at once, so that what is in the way is told
/// before long work; the directory appears whole, by write(), or not at all.
class OUTLIERS_API ReportDirectory {
 public:
  /// Throws ErrorKind::output for a place that is taken (unless `replace`) or cannot be written to.
  explicit ReportDirectory(const std::filesystem::path& directory, bool replace = false);
  ~ReportDirectory();
  ReportDirectory(ReportDirectory&&) noexcept;

  /// Once. What is there then: "index.html", "results.json", "arrays.npz", "figures". Throws
  /// ErrorKind::output where the disk is full, or another directory has appeared at the place.
  std::vector<std::string> write(const Survey& survey, const ReportOptions& options = {});

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// A finished report, read back. Nothing in its files is believed before it is checked.
class OUTLIERS_API Report {
 public:
  /// Throws ErrorKind::file or input, naming the file and the field, where something is missing, damaged, or
  /// does not fit the rest.
  static Report open(const std::filesystem::path& directory);
  /// Whether `directory` has a report's results.json, and is no model's.
  static bool is_at(const std::filesystem::path& directory);
  ~Report();
  Report(Report&&) noexcept;
  Report& operator=(Report&&) noexcept;

  const results::Results& results() const;
  /// An array of docs/results.md: of the input of that name, or of the model. Throws where it was not
  /// measured.
  at::Tensor array(const std::string& name, const std::string& input = {}) const;
  /// All that it may have; those that have nothing to show are not drawn.
  std::vector<std::string> figure_names() const;

  /// Draws into its directory's figures/, by gnuplot; how many: 0 where none shows what was measured. Throws
  /// ErrorKind::usage for unknown names, argument where the named ones have nothing to show, unsupported
  /// without gnuplot, output where it cannot be written.
  size_t draw(const FigureOptions& options = {}) const;
  /// Writes its index.html anew, which lists the figures that are there.
  void write_page() const;

 private:
  friend class Comparison;
  struct State;
  explicit Report(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// A finished intervention, read back: what Session::intervene() gave, with its figures and its page.
class OUTLIERS_API Intervention {
 public:
  /// As Report::open().
  static Intervention open(const std::filesystem::path& directory);
  /// Whether `directory` has an interventions.json.
  static bool is_at(const std::filesystem::path& directory);
  ~Intervention();
  Intervention(Intervention&&) noexcept;
  Intervention& operator=(Intervention&&) noexcept;

  const results::Interventions& results() const;
  static std::vector<std::string> figure_names();
  /// As Report::draw() and Report::write_page().
  size_t draw(const FigureOptions& options = {}) const;
  void write_page() const;
  /// Both, as options says; what is there then: "index.html", "figures". Where figures cannot be drawn, a
  /// warning says why.
  std::vector<std::string> write(const ReportOptions& options = {}) const;

 private:
  struct State;
  explicit Intervention(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// Several reports side by side.
class OUTLIERS_API Comparison {
 public:
  /// Opens them all, as Report::open().
  explicit Comparison(const std::vector<std::filesystem::path>& directories);
  ~Comparison();
  Comparison(Comparison&&) noexcept;

  /// Makes `directory`, with index.html and comparison.json. `replace`: one that holds a comparison, or is
  /// empty.
  void write(const std::filesystem::path& directory, bool replace = false) const;
  /// A table, a row a report, of at most `columns` (0: any number).
  std::string text(size_t columns = 0) const;
  /// The content of comparison.json.
  std::string json() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The results in words, in lines of `columns`, 40 at least. Their JSON is results::to_text().
OUTLIERS_API std::string summary_text(const results::Results& results, size_t columns = 80);
/// The same with the whole life cycle: who writes the outlier, what it does to attention, who takes it away.
OUTLIERS_API std::string lifecycle_text(const results::Results& results, size_t columns = 80);
OUTLIERS_API std::string summary_text(const results::Perplexity& perplexity, size_t columns = 80);
/// What rules found, with what it means and what to do, in lines of `columns`.
OUTLIERS_API std::string findings_text(const std::vector<results::Finding>& findings, size_t columns = 80);
/// A table of at most `table_columns` (0: any number), and lines of `columns`.
OUTLIERS_API std::string summary_text(const results::Interventions& interventions, size_t table_columns,
                                      size_t columns = 80);

}  // namespace outliers
