// A survey, as `outliers report` makes it, with progress by callback and errors by their kind.
// usage: survey MODEL DIRECTORY
#include <iostream>

#include <outliers/outliers.h>

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: survey MODEL DIRECTORY\n";
    return 2;
  }
  outliers::SessionOptions options;
  options.threads = 2;
  options.progress.progress = [](const outliers::ProgressState& state) {
    std::cout << state.what << ": " << static_cast<int64_t>(state.done) << " of " << state.total << " "
              << state.unit << "\n";
  };
  try {
    const outliers::Session session(options);
    const auto model = outliers::Model::open(argv[1]);
    outliers::SurveyOptions survey;
    survey.prompts = {"The sea was calm."};
    survey.sequences = 2;
    survey.tokens = 8;
    session.survey(model, survey).write(argv[2], {.page = true, .figures = false});
    std::cout << "wrote " << argv[2] << "\n";
  } catch (const outliers::Error& error) {
    const bool ours = error.kind() == outliers::ErrorKind::output;
    std::cerr << (ours ? "another place, please: " : "") << error.what() << "\n";
    return 1;
  }
}
