// doctest under names that do not collide with base/core/check.h: EXPECT (goes on) and REQUIRE
// (ends the test case).
#pragma once

#define DOCTEST_CONFIG_NO_SHORT_MACRO_NAMES
#include <doctest/doctest.h>

#define TEST_CASE DOCTEST_TEST_CASE
#define TEST_CASE_FIXTURE DOCTEST_TEST_CASE_FIXTURE
#define SUBCASE DOCTEST_SUBCASE
#define EXPECT DOCTEST_CHECK
#define EXPECT_FALSE DOCTEST_CHECK_FALSE
#define REQUIRE DOCTEST_REQUIRE
#define REQUIRE_FALSE DOCTEST_REQUIRE_FALSE
#define INFO DOCTEST_INFO
#define CAPTURE DOCTEST_CAPTURE
