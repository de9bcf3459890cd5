// The main function of tests whose layers compute: CLIPSELF_CPU caps the libraries as it does in the program.
#include <gtest/gtest.h>

#include "clipself/ops/cpu/level.h"

int main(int argc, char** argv) {
  clipself::ops::cpu::cap_libraries();
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
