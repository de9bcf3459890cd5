#include "clipself/visualization/colours.h"

#include <algorithm>
#include <cmath>

namespace clipself::visualization {

namespace {

std::uint8_t byte_of(double value) {
  return static_cast<std::uint8_t>(std::clamp(std::lround(value), 0L, 255L));
}

// Far apart in hue or lightness, the most different ones first; legible with dark lines and white letters on them.
constexpr std::array<Colour, 20> kChosen{
    {{230, 60, 70},   {52, 120, 220}, {60, 170, 80}, {250, 190, 50},  {150, 70, 190},  {70, 200, 215},  {240, 130, 45},
     {225, 90, 200},  {160, 205, 60}, {120, 80, 50}, {250, 175, 195}, {20, 110, 110},  {200, 180, 250}, {128, 25, 45},
     {170, 240, 200}, {120, 125, 25}, {35, 45, 130}, {255, 220, 175}, {125, 130, 140}, {215, 235, 120}}};

// Squared distance of colours as eyes see them, cheaply (the "redmean" of Riemersma's CompuPhase).
double squared_distance(const Colour& a, const Colour& b) {
  const double red = (a[0] + b[0]) / 2.0, dr = a[0] - b[0], dg = a[1] - b[1], db = a[2] - b[2];
  return (2 + red / 256) * dr * dr + 4 * dg * dg + (2 + (255 - red) / 256) * db * db;
}

}  // namespace

Colour mix(const Colour& under, const Colour& over, double opacity) {
  Colour result{};
  for (std::size_t c = 0; c < 3; ++c) result[c] = byte_of(under[c] + (over[c] - under[c]) * opacity);
  return result;
}

std::uint8_t grey_of(const Colour& colour) {
  return byte_of(0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]);
}

double lightness(const Colour& colour) {
  const auto linear = [](std::uint8_t value) {
    const double v = value / 255.0;
    return v <= 0.04045 ? v / 12.92 : std::pow((v + 0.055) / 1.055, 2.4);
  };
  const double y = 0.2126 * linear(colour[0]) + 0.7152 * linear(colour[1]) + 0.0722 * linear(colour[2]);
  return y > 216.0 / 24389 ? 116 * std::cbrt(y) - 16 : y * 24389 / 27;
}

Colour viridis(double value) {
  // Polynomials of degree 6 fitted to matplotlib's table (Matt Zucker, public domain).
  constexpr std::array<std::array<double, 3>, 7> kTerms{{{0.2777273272234177, 0.005407344544966578, 0.3340998053353061},
                                                         {0.1050930431085774, 1.404613529898575, 1.384590162594685},
                                                         {-0.3308618287255563, 0.214847559468213, 0.09509516302823659},
                                                         {-4.634230498983486, -5.799100973351585, -19.33244095627987},
                                                         {6.228269936347081, 14.17993336680509, 56.69055260068105},
                                                         {4.776384997670288, -13.74514537774601, -65.35303263337234},
                                                         {-5.435455855934631, 4.645852612178535, 26.3124352495832}}};
  const double t = value >= 0 ? std::min(value, 1.0) : 0.0;
  Colour colour{};
  for (std::size_t c = 0; c < 3; ++c) {
    double sum = 0;
    for (std::size_t i = kTerms.size(); i-- > 0;) sum = sum * t + kTerms[i][c];
    colour[c] = byte_of(255 * sum);
  }
  return colour;
}

std::vector<Colour> distinct_colours(int count) {
  std::vector<Colour> colours(kChosen.begin(),
                              kChosen.begin() + std::clamp(count, 0, static_cast<int>(kChosen.size())));
  if (static_cast<int>(colours.size()) == count) return colours;
  // Then always the one of a grid that is farthest from all before it.
  constexpr std::array<std::uint8_t, 9> kLevels{15, 43, 72, 100, 128, 156, 184, 213, 241};
  std::vector<std::pair<Colour, double>> candidates;
  for (const std::uint8_t red : kLevels)
    for (const std::uint8_t green : kLevels)
      for (const std::uint8_t blue : kLevels) {
        const Colour colour{red, green, blue};
        if (lightness(colour) < 20 || lightness(colour) > 92) continue;
        double nearest = 1e18;
        for (const Colour& other : colours) nearest = std::min(nearest, squared_distance(colour, other));
        candidates.emplace_back(colour, nearest);
      }
  while (static_cast<int>(colours.size()) < count) {
    const auto farthest = std::max_element(candidates.begin(), candidates.end(),
                                           [](const auto& a, const auto& b) { return a.second < b.second; });
    const Colour chosen = farthest->first;
    colours.push_back(chosen);
    for (auto& [colour, nearest] : candidates) nearest = std::min(nearest, squared_distance(colour, chosen));
  }
  return colours;
}

}  // namespace clipself::visualization
