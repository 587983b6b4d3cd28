// The page's HTML: templates that the build has assembled (page/assemble.py), and text made safe for them.
// Everything that comes out of a report is text here; none of it can become markup or script.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace outliers::report {

/// page/report.html, page/compare.html and page/interventions.html with their style and scripts in place.
std::string_view report_template();
std::string_view compare_template();
std::string_view intervention_template();

/// `html` with each {{name}} of `values` replaced, in one pass: a value's own braces stay what they are.
std::string fill_template(std::string_view html, const std::map<std::string, std::string>& values);

/// Text between tags or in a quoted attribute; what is not UTF-8 becomes U+FFFD, what cannot be seen an
/// escape (core/display.h).
std::string html_text(const std::string& text);

/// JSON inside a script element: no character in it can end the element; what is beyond ASCII is escaped.
/// Numbers that are not finite are null.
std::string html_json(const nlohmann::ordered_json& value);
/// The same of JSON text in UTF-8.
std::string html_json_text(std::string_view json);

/// For the scripts: the order in which projections and classes of tokens are shown and coloured, and the
/// measured points.
nlohmann::ordered_json shown_order();

}  // namespace outliers::report
