#include "outliers/report/gnuplot.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
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
  const int error = errno;
  require(child >= 0, kUnsupported, "cannot start gnuplot: {}", std::strerror(error));
  if (child > 0) return child;
  // Only calls that are safe between fork and exec.
  const int in = open("/dev/null", O_RDONLY), out = open(log.c_str(), O_WRONLY | O_CREAT | O_EXCL, 0644);
  if (in >= 0 && out >= 0 && dup2(in, 0) >= 0 && dup2(out, 1) >= 0 && dup2(out, 2) >= 0 &&
      chdir(folder.c_str()) == 0) {
    execlp("gnuplot", "gnuplot", "-d", "-e", setting.c_str(), script.c_str(), nullptr);
  }
  _exit(127);
}

/// The processes that draw. Those that run when it ends are ended, too.
class Children {
 public:
  Children() = default;
  ~Children() {
    for (const auto& [child, name] : running_) {
      kill(child, SIGTERM);
      while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
      }
    }
  }
  Children(const Children&) = delete;
  Children& operator=(const Children&) = delete;

  size_t size() const { return running_.size(); }
  void add(pid_t child, const std::string& name) { running_.emplace(child, name); }
  /// The name of one that has ended, and its status.
  std::pair<std::string, int> wait() {
    int status = 0;
    const auto first = running_.begin();
    if (interruptible([&] { return waitpid(first->first, &status, 0); }) < 0) status = 0;
    std::pair<std::string, int> ended(first->second, status);
    running_.erase(first);
    return ended;
  }

 private:
  std::map<pid_t, std::string> running_;
};

/// Whether the file ends as its format does. gnuplot does not always say that the disk is full.
bool is_whole(const fs::path& path, const std::string& format) {
  static const std::map<std::string, std::string> endings = {
      {"pdf", "%%EOF"}, {"svg", "</svg>"}, {"png", "IEND\xae\x42\x60\x82"}};
  std::error_code ec;
  if (!fs::is_regular_file(path, ec)) return false;
  const auto ending = endings.find(format);
  if (ending == endings.end()) return true;
  std::ifstream file(path, std::ios::binary);
  constexpr std::streamoff tail = 64;
  file.seekg(-std::min<std::streamoff>(tail, static_cast<std::streamoff>(fs::file_size(path, ec))),
             std::ios::end);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  return text.find(ending->second) != std::string::npos;
}

/// Throws where no more can be written to a file that gnuplot has left unfinished.
void check_room(const fs::path& path, const fs::path& directory) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0666);
  if (fd < 0) fail_to_write(directory, errno);
  const std::string more(size_t{1} << 16, ' ');
  const int error = write_all(fd, more.data(), more.size());
  ::close(fd);
  if (error != 0) fail_to_write(directory, error);
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
      have_gnuplot(), kUnsupported,
      "gnuplot is not installed, so no figures are drawn; install the package gnuplot-nox (Debian's name) "
      "and run outliers plot");
  std::error_code ec;
  fs::create_directories(directory, ec);
  require(!ec, not_written(ec.value()), "cannot write {}: {}", directory.string(), ec.message());
  const Temporary scratch(directory / "gnuplot", Temporary::Kind::directory, false);

  const std::string list = fmt::format("{}", fmt::join(formats, " "));
  const size_t limit = std::max(1U, std::thread::hardware_concurrency());
  Children children;
  std::string problem;
  const auto wait_for_one = [&] {
    const auto [name, status] = children.wait();
    if (status == 0 || !problem.empty()) return;
    check_room(scratch.path() / (name + ".dat"), directory);
    problem = fmt::format("gnuplot cannot draw {}: {}", name,
                          first_line_of(scratch.path() / fmt::format("{}.{}", name, kLog)));
  };
  for (const Figure& figure : figures) {
    write(scratch.path() / (figure.name + ".gp"), script_of(figure, palette));
    write(scratch.path() / (figure.name + ".dat"), figure.data);
    if (children.size() >= limit) wait_for_one();
    if (!problem.empty()) break;
    children.add(start(figure.name, list, scratch.path()), figure.name);
  }
  while (children.size() > 0) wait_for_one();
  check_interrupt();
  require(problem.empty(), kUnsupported, "{}", problem);

  for (const Figure& figure : figures) {
    std::vector<std::string> endings = formats;
    endings.insert(endings.end(), {"gp", "dat"});
    for (const std::string& ending : endings) {
      const std::string file = fmt::format("{}.{}", figure.name, ending);
      if (!is_whole(scratch.path() / file, ending)) {
        check_room(scratch.path() / file, directory);
        fail(kUnsupported, "gnuplot wrote no {}, or only a part of it", file);
      }
      fs::rename(scratch.path() / file, directory / file, ec);
      require(!ec, not_written(ec.value()), "cannot write {}: {}", (directory / file).string(), ec.message());
      Temporary::note_complete(directory / file);
    }
  }
}

}  // namespace outliers::report
