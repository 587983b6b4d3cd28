#include "outliers/report/gnuplot.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <iterator>
#include <map>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include <fmt/ranges.h>

#include "outliers/core/error.h"
#include "outliers/core/interrupt.h"
#include "outliers/core/output.h"

namespace outliers::report {
namespace fs = std::filesystem;
namespace {

constexpr const char* kLog = "gnuplot.log";

/// A directory that is removed with all it holds.
class Scratch {
 public:
  explicit Scratch(fs::path path) : path_(std::move(path)) {
    std::error_code ec;
    fs::remove_all(path_, ec);
    fs::create_directories(path_, ec);
    require(!ec, "cannot write {}: {}", path_.string(), ec.message());
  }
  ~Scratch() {
    std::error_code ec;
    fs::remove_all(path_, ec);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

void write(const fs::path& path, const std::string& text) {
  OutputFile file(path, true);
  file.write(text);
  file.commit();
}

std::string first_line_of(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  // gnuplot repeats the command and points at the place before it says what is wrong.
  for (std::string next; std::getline(file, next);) {
    if (next.find("line ") != std::string::npos || line.empty()) line = next;
  }
  return printable(line, 200);
}

/// Starts gnuplot on NAME.gp in `directory`; its output goes to NAME.gnuplot.log.
pid_t start(const std::string& name, const std::string& formats, const fs::path& directory) {
  const std::string script = name + ".gp", setting = fmt::format("formats='{}'", formats),
                    log = (directory / fmt::format("{}.{}", name, kLog)).string(),
                    folder = directory.string();
  const pid_t child = fork();
  require(child >= 0, "cannot start gnuplot: {}", std::strerror(errno));
  if (child > 0) return child;
  // Only calls that are safe between fork and exec.
  const int in = open("/dev/null", O_RDONLY), out = open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (in >= 0 && out >= 0 && dup2(in, 0) >= 0 && dup2(out, 1) >= 0 && dup2(out, 2) >= 0 &&
      chdir(folder.c_str()) == 0) {
    execlp("gnuplot", "gnuplot", "-d", "-e", setting.c_str(), script.c_str(), nullptr);
  }
  _exit(127);
}

}  // namespace

bool have_gnuplot() {
  const char* path = std::getenv("PATH");
  std::string rest = path == nullptr ? "" : path;
  for (size_t end = 0; !rest.empty(); rest.erase(0, end + 1)) {
    end = std::min(rest.find(':'), rest.size() - 1);
    const std::string folder = rest.substr(0, std::min(rest.find(':'), rest.size()));
    if (access((fs::path(folder) / "gnuplot").c_str(), X_OK) == 0) return true;
  }
  return false;
}

void draw(const std::vector<Figure>& figures, const Palette& palette, const std::vector<std::string>& formats,
          const fs::path& directory) {
  require(
      have_gnuplot(),
      "gnuplot is not installed, so no figures are drawn; install the package gnuplot-nox (Debian's name) "
      "and run outliers plot");
  std::error_code ec;
  fs::create_directories(directory, ec);
  require(!ec, "cannot write {}: {}", directory.string(), ec.message());
  const Scratch scratch(directory / fmt::format(".partial-{}", getpid()));

  const std::string list = fmt::format("{}", fmt::join(formats, " "));
  const size_t limit = std::max(1U, std::thread::hardware_concurrency());
  std::map<pid_t, const Figure*> running;
  std::string problem;
  const auto wait_for_one = [&] {
    int status = 0;
    pid_t child = 0;
    while ((child = waitpid(running.begin()->first, &status, 0)) < 0 && errno == EINTR) {
    }
    const Figure& figure = *running.begin()->second;
    running.erase(running.begin());
    if (child < 0 || status == 0 || !problem.empty()) return;
    problem = fmt::format("gnuplot cannot draw {}: {}", figure.name,
                          first_line_of(scratch.path() / fmt::format("{}.{}", figure.name, kLog)));
  };
  for (const Figure& figure : figures) {
    write(scratch.path() / (figure.name + ".gp"), script_of(figure, palette));
    write(scratch.path() / (figure.name + ".dat"), figure.data);
    if (running.size() >= limit) wait_for_one();
    if (!problem.empty()) break;
    const pid_t child = start(figure.name, list, scratch.path());
    running.emplace(child, &figure);
  }
  while (!running.empty()) wait_for_one();
  check_interrupt();
  require(problem.empty(), "{}", problem);

  for (const Figure& figure : figures) {
    std::vector<std::string> endings = formats;
    endings.insert(endings.end(), {"gp", "dat"});
    for (const std::string& ending : endings) {
      const std::string file = fmt::format("{}.{}", figure.name, ending);
      require(fs::is_regular_file(scratch.path() / file, ec), "gnuplot wrote no {}", file);
      fs::rename(scratch.path() / file, directory / file, ec);
      require(!ec, "cannot write {}: {}", (directory / file).string(), ec.message());
    }
  }
}

}  // namespace outliers::report
