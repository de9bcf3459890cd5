// The built-in class lists as text: names with ";" behind each.
#pragma once

namespace clipself::datasets {

extern const char* const kCocoNames;
extern const char* const kCocoPanopticNames;
extern const char* const kLvisNames;
extern const char* const kLvisRareNames;
extern const char* const kLvisSeenNames;
extern const char* const kObjects365Names;
extern const char* const kOvCocoBaseNames;
extern const char* const kOvCocoNames;
extern const char* const kOvCocoNovelNames;
extern const char* const kVocNames;
extern const char* const kAde20kNames;
extern const char* const kPascalContext59Names;

}  // namespace clipself::datasets
