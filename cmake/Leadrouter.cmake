# What every target of the project has in common: language level, warnings, sanitizers, hardening.
set(CMAKE_C_STANDARD 17)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo)
endif()
# Assertions are part of the product: they stay on in every build type.
string(REPLACE "-DNDEBUG" "" CMAKE_C_FLAGS_RELWITHDEBINFO "${CMAKE_C_FLAGS_RELWITHDEBINFO}")
string(REPLACE "-DNDEBUG" "" CMAKE_C_FLAGS_RELEASE "${CMAKE_C_FLAGS_RELEASE}")

include(CheckCCompilerFlag)
include(CheckPIESupported)
check_pie_supported(LANGUAGES C) # programs are position independent, whatever the compiler's own default

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(GRPC REQUIRED IMPORTED_TARGET grpc)
pkg_check_modules(ZLIB REQUIRED IMPORTED_TARGET zlib)
pkg_check_modules(PROTOBUF_C REQUIRED IMPORTED_TARGET libprotobuf-c)
pkg_check_modules(LIBPQ REQUIRED IMPORTED_TARGET libpq)
pkg_check_modules(CRYPTO REQUIRED IMPORTED_TARGET libcrypto)
pkg_check_modules(SSL REQUIRED IMPORTED_TARGET libssl libcrypto)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(MICROHTTPD REQUIRED IMPORTED_TARGET libmicrohttpd)
pkg_check_modules(CURL REQUIRED IMPORTED_TARGET libcurl)
pkg_check_modules(YAML REQUIRED IMPORTED_TARGET yaml-0.1)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)

# Generated code is compiled with the same flags, except for the warnings that protoc-c's output trips.
add_library(leadrouter_flags INTERFACE)
target_compile_definitions(leadrouter_flags INTERFACE _GNU_SOURCE)
target_compile_options(leadrouter_flags INTERFACE -fno-omit-frame-pointer)
if(LEADROUTER_SANITIZE)
  target_compile_options(leadrouter_flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=all)
  target_link_options(leadrouter_flags INTERFACE -fsanitize=address,undefined)
elseif(LEADROUTER_SANITIZE_THREAD)
  target_compile_options(leadrouter_flags INTERFACE -O1 -fsanitize=thread)
  target_link_options(leadrouter_flags INTERFACE -fsanitize=thread)
elseif(LEADROUTER_COVERAGE)
  target_compile_options(leadrouter_flags INTERFACE --coverage -fprofile-update=atomic)
  target_link_options(leadrouter_flags INTERFACE --coverage)
elseif(NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
  # What a fault can be made into. tests/integration/test_hardening.py looks whether it has reached the programs.
  target_compile_options(leadrouter_flags INTERFACE
    -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3  # calls of libc that write past an object end the process
    -fstack-protector-strong -fstack-clash-protection
    -ftrivial-auto-var-init=zero           # a variable that was forgotten is zero, not what the stack held before
    -fno-delete-null-pointer-checks)
  foreach(flag -fcf-protection=full -mbranch-protection=standard) # x86 and ARM: jumps land where functions begin
    string(MAKE_C_IDENTIFIER "LEADROUTER_HAS${flag}" has)
    check_c_compiler_flag(${flag} ${has})
    if(${has})
      target_compile_options(leadrouter_flags INTERFACE ${flag})
    endif()
  endforeach()
  target_link_options(leadrouter_flags INTERFACE -Wl,-z,relro,-z,now,-z,noexecstack,-z,separate-code)
endif()

add_library(leadrouter_warnings INTERFACE)
target_compile_options(leadrouter_warnings INTERFACE
  -Wall -Wextra -Wconversion -Wshadow -Wvla -Wundef -Wpointer-arith -Wcast-qual -Wwrite-strings
  -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wformat=2 -Werror)

# leadrouter_library(NAME SOURCES ... LINK ...): a module. NAME "pg" makes the target leadrouter_pg. Includes are written from src/.
function(leadrouter_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_library(leadrouter_${name} STATIC ${ARG_SOURCES})
  target_include_directories(leadrouter_${name} PUBLIC "${PROJECT_SOURCE_DIR}/src")
  target_link_libraries(leadrouter_${name} PUBLIC leadrouter_flags ${ARG_LINK} Threads::Threads PRIVATE leadrouter_warnings)
endfunction()

# leadrouter_program(NAME SOURCES ... LINK ...): an executable.
function(leadrouter_program name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE leadrouter_flags leadrouter_warnings ${ARG_LINK} Threads::Threads)
endfunction()

# The gRPC core is not instrumented: what it does with its own memory is not looked at (tests/race/core_order.c), and it leaves threads.
set(LEADROUTER_TSAN_OPTIONS "ignore_noninstrumented_modules=1:report_thread_leaks=0")

# A cmocka program and its ctest entry; both test functions below are this.
function(leadrouter_test kind name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  string(REPLACE "/" "_" target "test_${name}")
  set(lsan_options "suppressions=${PROJECT_SOURCE_DIR}/tests/lsan.supp:print_suppressions=0")
  add_executable(${target} ${ARG_SOURCES})
  target_link_libraries(${target} PRIVATE leadrouter_flags leadrouter_warnings ${ARG_LINK} cmocka Threads::Threads)
  add_test(NAME ${kind}/${name} COMMAND ${target})
  set_tests_properties(${kind}/${name} PROPERTIES TIMEOUT 300 ENVIRONMENT
    "LEADROUTER_SOURCE_DIR=${PROJECT_SOURCE_DIR};LSAN_OPTIONS=${lsan_options};TSAN_OPTIONS=${LEADROUTER_TSAN_OPTIONS}")
endfunction()

# leadrouter_unit_test(NAME SOURCES ... LINK ...): NAME is a path such as "base/buffer".
function(leadrouter_unit_test name)
  leadrouter_test(unit ${name} ${ARGN})
endfunction()

# leadrouter_integration_test(NAME SOURCES ... LINK ...): the same with a real PostgreSQL of its own.
function(leadrouter_integration_test name)
  leadrouter_test(integration ${name} ${ARGN})
endfunction()
