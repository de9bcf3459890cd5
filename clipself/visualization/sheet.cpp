#include "clipself/visualization/sheet.h"

#include <algorithm>
#include <cmath>

namespace clipself::visualization {

namespace {

constexpr Colour kSheetPaper{250, 250, 248};
constexpr Colour kSheetInk{32, 38, 50};
constexpr Colour kSheetFaint{112, 120, 134};

// Where each entry stands, relative to the legend's corner; entries as wide as the widest, in columns.
struct LegendLayout {
  int columns = 1, rows = 0, column_width = 0, row_height = 0;
};

LegendLayout lay_out_legend(const std::vector<LegendEntry>& entries, const SheetStyle& style, int width) {
  LegendLayout layout;
  for (const LegendEntry& entry : entries)
    layout.column_width = std::max(layout.column_width, Canvas::width_of(entry.text, style.text));
  layout.column_width = std::min(layout.column_width + 48 * style.unit, width);
  layout.row_height = style.text.height + 6 * style.unit;
  const int count = static_cast<int>(entries.size());
  const int most = std::max(1, width / std::max(1, layout.column_width));
  layout.rows = (count + most - 1) / most;
  layout.columns = layout.rows > 0 ? (count + layout.rows - 1) / layout.rows : 1;
  return layout;
}

// Down each column, then the next, so that an order by size can be read from top to bottom.
void draw_entries(Canvas& canvas, const std::vector<LegendEntry>& entries, const LegendLayout& layout,
                  const SheetStyle& style, int left, int top) {
  const int unit = style.unit;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const int x = left + static_cast<int>(i) / layout.rows * layout.column_width;
    const int y = top + static_cast<int>(i) % layout.rows * layout.row_height;
    canvas.fill(x, y, 22 * unit, 14 * unit, {90, 96, 108});
    canvas.fill(x + unit, y + unit, 20 * unit, 12 * unit, entries[i].colour);
    canvas.write(Canvas::fitted(entries[i].text, style.text, layout.column_width - 30 * unit), x + 28 * unit, y,
                 style.text, kSheetInk);
  }
}

void draw_bar(Canvas& canvas, const ColourBar& bar, const SheetStyle& style, int left, int top, int width) {
  const int unit = style.unit;
  const int low_width = Canvas::width_of(bar.low, style.text), high_width = Canvas::width_of(bar.high, style.text);
  const int length = std::max(40 * unit, std::min(260 * unit, width - low_width - high_width - 20 * unit));
  canvas.write(bar.low, left, top, style.text, kSheetInk);
  const int start = left + low_width + 8 * unit;
  canvas.fill(start - unit, top, length + 2 * unit, 14 * unit, {90, 96, 108});
  for (int i = 0; i < length; ++i)
    canvas.fill(start + i, top + unit, 1, 12 * unit, viridis(static_cast<double>(i) / (length - 1)));
  canvas.write(bar.high, start + length + 8 * unit, top, style.text, kSheetInk);
}

}  // namespace

SheetStyle::SheetStyle(int longer_side)
    : unit(std::max(1, static_cast<int>(std::lround(longer_side / 900.0)))),
      text(enlarged(text_font(), unit)),
      title(enlarged(title_font(), unit)) {}

formats::Image compose(const Sheet& sheet) {
  int panel_width = 1, panel_height = 1;
  for (const Panel& panel : sheet.panels) {
    panel_width = std::max(panel_width, panel.image.width);
    panel_height = std::max(panel_height, panel.image.height);
  }
  const SheetStyle style(std::max(panel_width, panel_height));
  const int unit = style.unit, margin = 20 * unit, gap = 14 * unit;
  const int count = static_cast<int>(sheet.panels.size());
  int columns = sheet.columns;
  if (columns <= 0)
    columns = static_cast<int>(std::lround(std::sqrt(2.0 * count * panel_height / static_cast<double>(panel_width))));
  columns = std::clamp(columns, 1, std::max(1, count));
  const int rows = (count + columns - 1) / columns;
  // Small panels still leave room to say what they are.
  const int inner = std::max(columns * panel_width + (columns - 1) * gap, 300 * unit);
  const bool headed =
      std::any_of(sheet.panels.begin(), sheet.panels.end(), [](const Panel& p) { return !p.heading.empty(); });
  const int heading_height = headed ? style.text.height + 6 * unit : 0;
  const int row_height = panel_height + heading_height + gap;
  const int head = (sheet.title.empty() ? 0 : style.title.height + 6 * unit) +
                   (sheet.subtitle.empty() ? 0 : style.text.height + 6 * unit);
  const LegendLayout legend = lay_out_legend(sheet.legend, style, inner);
  const int foot = legend.rows * legend.row_height + (sheet.bar ? legend.row_height + style.text.height : 0);
  Canvas canvas(inner + 2 * margin, margin + head + rows * row_height + foot + margin - gap / 2, kSheetPaper);

  int y = margin - 4 * unit;
  if (!sheet.title.empty()) {
    canvas.write(Canvas::fitted(sheet.title, style.title, inner), margin, y, style.title, kSheetInk);
    y += style.title.height + 6 * unit;
  }
  if (!sheet.subtitle.empty())
    canvas.write(Canvas::fitted(sheet.subtitle, style.text, inner), margin, y, style.text, kSheetFaint);
  y = margin + head;
  for (int i = 0; i < count; ++i) {
    const Panel& panel = sheet.panels[static_cast<std::size_t>(i)];
    const int left = margin + i % columns * (panel_width + gap), top = y + i / columns * row_height;
    const int room = columns == 1 ? inner : panel_width;
    canvas.write(Canvas::fitted(panel.heading, style.text, room), left, top, style.text, kSheetInk);
    canvas.paste(panel.image, left, top + heading_height);
  }
  y += rows * row_height;
  if (sheet.bar) {
    draw_bar(canvas, *sheet.bar, style, margin, y, inner);
    y += legend.row_height + style.text.height / 2;
  }
  draw_entries(canvas, sheet.legend, legend, style, margin, y);
  return canvas.image();
}

}  // namespace clipself::visualization
