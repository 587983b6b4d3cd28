// Runs gnuplot over figures and puts the files where they belong.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "outliers/report/figure.h"

namespace outliers::report {

/// Whether there is a gnuplot in PATH.
bool have_gnuplot();

/// Writes NAME.gp, NAME.dat and NAME.FORMAT of every figure into `directory`, which is made where it is
/// missing; files of these names are replaced, one by one and whole. As many processes run at a time as there
/// are cores. Throws where gnuplot is missing (naming the package), fails, or the directory cannot be
/// written.
void draw(const std::vector<Figure>& figures, const Palette& palette, const std::vector<std::string>& formats,
          const std::filesystem::path& directory);

}  // namespace outliers::report
