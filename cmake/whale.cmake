# Packages, compiler flags, and the three ways a folder adds a target.

find_package(Threads REQUIRED)
find_package(absl REQUIRED)
find_package(Protobuf REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(GRPCPP REQUIRED IMPORTED_TARGET grpc++)
find_program(GRPC_CPP_PLUGIN grpc_cpp_plugin REQUIRED)

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()
find_program(MOLD mold)
if(MOLD)
  add_link_options(-fuse-ld=mold)
endif()

add_compile_options(-Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers -fno-omit-frame-pointer)
if(WHALE_SANITIZE)
  add_compile_options(-fsanitize=${WHALE_SANITIZE} -fno-sanitize-recover=all -g -O1)
  add_link_options(-fsanitize=${WHALE_SANITIZE})
  if(WHALE_SANITIZE MATCHES thread)
    # libstdc++'s fences are invisible to the thread sanitizer; what they order
    # is ordered by atomics as well (docs/memory_model.md).
    add_compile_options(-Wno-tsan)
  endif()
endif()
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g -DNDEBUG")
include_directories(${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR})

# whale_library(NAME SOURCES ... DEPS ...): one per folder; DEPS are the folders
# it may include, and packages.
function(whale_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC ${ARG_DEPS})
endfunction()

# whale_test(NAME SOURCES ... DEPS ... [TIMEOUT seconds] [LABEL label]): a
# GoogleTest binary, registered with CTest as one test. Those with the label
# `unit`, the default, are built by the target `unit_tests`.
if(WHALE_BUILD_TESTS)
  enable_testing()
  find_package(GTest REQUIRED)
  add_custom_target(unit_tests)
endif()
function(whale_test name)
  if(NOT WHALE_BUILD_TESTS)
    return()
  endif()
  cmake_parse_arguments(ARG "" "TIMEOUT;LABEL" "SOURCES;DEPS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 400)
  endif()
  if(NOT ARG_LABEL)
    set(ARG_LABEL unit)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} GTest::gtest_main GTest::gmock)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS ${ARG_LABEL})
  if(ARG_LABEL STREQUAL unit)
    add_dependencies(unit_tests ${name})
  endif()
endfunction()
