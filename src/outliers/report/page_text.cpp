#include "outliers/report/page_text.h"

#include <algorithm>

#include "outliers/core/display.h"
#include "outliers/core/formats.h"
#include "outliers/core/utf8.h"
#include "outliers/report/figure.h"
#include "outliers/results/field.h"
#include "outliers/results/results.h"

// .incbin, as for the default corpus: compiling megabytes of text takes no time.
#define OUTLIERS_EMBED(name, file)                                                          \
  __asm__(".pushsection .rodata\n.global outliers_" #name "_begin\n.global outliers_" #name \
          "_end\noutliers_" #name "_begin:\n.incbin \"" file "\"\noutliers_" #name "_end:\n.popsection\n")
OUTLIERS_EMBED(report_page, OUTLIERS_PAGES "report.html");
OUTLIERS_EMBED(compare_page, OUTLIERS_PAGES "compare.html");
OUTLIERS_EMBED(intervention_page, OUTLIERS_PAGES "interventions.html");
extern "C" const char outliers_report_page_begin[];
extern "C" const char outliers_report_page_end[];
extern "C" const char outliers_compare_page_begin[];
extern "C" const char outliers_compare_page_end[];
extern "C" const char outliers_intervention_page_begin[];
extern "C" const char outliers_intervention_page_end[];

namespace outliers::report {

using nlohmann::ordered_json;

std::string_view report_template() {
  return {outliers_report_page_begin,
          static_cast<size_t>(outliers_report_page_end - outliers_report_page_begin)};
}

std::string_view compare_template() {
  return {outliers_compare_page_begin,
          static_cast<size_t>(outliers_compare_page_end - outliers_compare_page_begin)};
}

std::string_view intervention_template() {
  return {outliers_intervention_page_begin,
          static_cast<size_t>(outliers_intervention_page_end - outliers_intervention_page_begin)};
}

std::string fill_template(std::string_view html, const std::map<std::string, std::string>& values) {
  std::string out;
  for (size_t at = 0;;) {
    const size_t open = html.find("{{", at), close = html.find("}}", open);
    if (close == std::string_view::npos) {
      out += html.substr(at);
      return out;
    }
    const auto value = values.find(std::string(html.substr(open + 2, close - open - 2)));
    // Double braces that name nothing are the scripts' own.
    const size_t end = value == values.end() ? open + 2 : close + 2;
    out += html.substr(at, (value == values.end() ? end : open) - at);
    if (value != values.end()) out += value->second;
    at = end;
  }
}

namespace {

/// Replaces what is not UTF-8, as the JSON library does.
std::string valid(const std::string& text) {
  const std::string quoted = ordered_json(text).dump(-1, ' ', false, ordered_json::error_handler_t::replace);
  return ordered_json::parse(quoted).get<std::string>();
}

}  // namespace

std::string html_text(const std::string& text) {
  std::string out;
  for (const char c : escape_hidden(valid(text))) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string html_json(const ordered_json& value) {
  return html_json_text(value.dump(-1, ' ', true, ordered_json::error_handler_t::replace));
}

std::string html_json_text(std::string_view json) {
  std::string out;
  // These characters stand in strings only, where \u escapes mean the same. So do all beyond ASCII, some of
  // which cannot be seen or turn the direction of what follows in whatever shows the file.
  for (size_t at = 0; at < json.size();) {
    size_t broken = 1;
    const size_t valid = valid_sequence(json, at, &broken), length = valid > 0 ? valid : broken;
    if (valid == 0) {
      out += "\\ufffd";
    } else if (length > 1) {
      const std::string escaped = ordered_json(json.substr(at, length)).dump(-1, ' ', true);
      out += escaped.substr(1, escaped.size() - 2);
    } else if (json[at] == '<' || json[at] == '>' || json[at] == '&') {
      out += json[at] == '<' ? "\\u003c" : json[at] == '>' ? "\\u003e" : "\\u0026";
    } else {
      out += json[at];
    }
    at += length;
  }
  return out;
}

ordered_json shown_order() {
  ordered_json formats = ordered_json::object();
  for (const NumberFormat& format : kNumberFormats) formats[format.name] = format.title;
  return {{"modules", kShownModules},
          {"classes", results::kClasses},
          {"points", results::kPoints},
          {"formats", formats}};
}

}  // namespace outliers::report
