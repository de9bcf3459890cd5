// Colours for pictures of numbers and classes.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace clipself::visualization {

using Colour = std::array<std::uint8_t, 3>;  ///< red, green, blue

/// `over` laid on `under`; opacity 0..1.
Colour mix(const Colour& under, const Colour& over, double opacity);
/// The same grey: 0.299 r + 0.587 g + 0.114 b.
std::uint8_t grey_of(const Colour& colour);
/// CIE 1976 lightness L* of an sRGB colour, 0..100.
double lightness(const Colour& colour);

/// matplotlib's viridis (van der Walt and Smith 2015) within five steps of 255: dark blue at 0, yellow at 1, lightness
/// rising all the way. Values outside 0..1 are clamped, NaN counts as 0.
Colour viridis(double value);

/// `count` colours that are easy to tell apart: 20 chosen ones, then each as far from those before it as can be.
std::vector<Colour> distinct_colours(int count);

}  // namespace clipself::visualization
