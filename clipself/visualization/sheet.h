// Panels with headings, a title above and a legend below: one picture that can be read by itself.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "clipself/formats/image.h"
#include "clipself/visualization/canvas.h"

namespace clipself::visualization {

/// Letters and gaps of a size that suits pictures of that longer side.
struct SheetStyle {
  explicit SheetStyle(int longer_side);
  int unit = 1;  ///< pixels of what is one pixel at ordinary size
  Font text;
  Font title;
};

struct Panel {
  std::string heading;
  formats::Image image;  ///< RGB
};
struct LegendEntry {
  Colour colour{};
  std::string text;
};
/// What the colours of heat maps mean.
struct ColourBar {
  std::string low, high;  ///< what stands at its ends
};

struct Sheet {
  std::string title;
  std::string subtitle;
  std::vector<Panel> panels;
  int columns = 0;  ///< 0: as many as make the sheet about 2 to 1
  std::vector<LegendEntry> legend;
  std::optional<ColourBar> bar;
};

/// Panels in rows, each at its own size, headings cut to their panel's width.
formats::Image compose(const Sheet& sheet);

}  // namespace clipself::visualization
