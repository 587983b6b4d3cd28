#include "outliers/io/hub_name.h"

#include <algorithm>
#include <cctype>
#include <string_view>
#include <vector>

#include "outliers/io/hub_remote.h"

namespace outliers::io {

bool is_repository(const std::string& text) {
  const auto plain = [](unsigned char c) {
    return c < 0x80 && (std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.');
  };
  const auto edge = [](char c) { return c == '-' || c == '.'; };
  const auto slash = text.find('/');
  if (text.empty() || text.size() > 200 || text.find("--") != std::string::npos ||
      text.find("..") != std::string::npos || text.ends_with(".git"))
    return false;
  for (const std::string& part : slash == std::string::npos
                                     ? std::vector{text}
                                     : std::vector{text.substr(0, slash), text.substr(slash + 1)}) {
    if (part.empty() || part.size() > 96 || edge(part.front()) || edge(part.back()) ||
        !std::all_of(part.begin(), part.end(), plain))
      return false;
  }
  return true;
}

bool is_revision(const std::string& text) {
  const auto plain = [](unsigned char c) {
    return c > ' ' && c != 0x7f &&
           std::string_view("~^:?*[\\").find(static_cast<char>(c)) == std::string_view::npos;
  };
  return !text.empty() && text.size() <= 200 && text.front() != '/' && text.back() != '/' &&
         text.find("..") == std::string::npos && text.find("//") == std::string::npos &&
         std::all_of(text.begin(), text.end(), plain);
}

std::string HubName::text() const {
  const std::string at = revision == "main" ? "" : "@" + revision;
  if (data_set) return "hf://datasets/" + repository + at + "/" + file;
  return repository + at + (file.empty() ? "" : ":" + file);
}

std::string HubName::missing() const {
  return text() + (data_set ? ":" : ": no such file or directory here, and");
}

std::string HubName::page() const {
  return (data_set ? "datasets/" : "") + repository;
}

}  // namespace outliers::io
