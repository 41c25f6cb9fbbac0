cmake_minimum_required(VERSION 3.24)
project(weatherstation_superbuild NONE)

include(ExternalProject)
include(GNUInstallDirs)

set(PREFIX "${CMAKE_BINARY_DIR}/stage" CACHE PATH "where everything is installed")
set_property(DIRECTORY PROPERTY EP_BASE "${CMAKE_BINARY_DIR}/ep")
list(APPEND common_arguments
  -DCMAKE_INSTALL_PREFIX:PATH=${PREFIX}
  -DCMAKE_PREFIX_PATH:PATH=${PREFIX}
  -DCMAKE_BUILD_TYPE:STRING=${CMAKE_BUILD_TYPE}
  -DCMAKE_TOOLCHAIN_FILE:FILEPATH=${CMAKE_TOOLCHAIN_FILE}
  -DBUILD_SHARED_LIBS:BOOL=OFF
  -DCMAKE_POSITION_INDEPENDENT_CODE:BOOL=ON)

# name | tag | depends on | further arguments
set(packages
  "zlib|v1.3.1||"
  "mbedtls|v3.5.2||-DENABLE_TESTING=OFF -DENABLE_PROGRAMS=OFF"
  "mosquitto|v2.0.18|mbedtls|-DWITH_BROKER=OFF -DWITH_CJSON=OFF -DDOCUMENTATION=OFF"
  "sqlite-amalgamation|3.45.1||"
  "station|main|zlib;mosquitto;sqlite-amalgamation|-DSTATION_TESTS=OFF")

foreach(package IN LISTS packages)
  string(REPLACE "|" ";" fields "${package}")
  list(GET fields 0 name)
  list(GET fields 1 tag)
  string(REGEX REPLACE "^[^|]*\\|[^|]*\\|([^|]*)\\|.*$" "\\1" depends "${package}")
  string(REGEX REPLACE "^.*\\|" "" extra "${package}")
  separate_arguments(extra UNIX_COMMAND "${extra}")
  ExternalProject_Add(${name}
    GIT_REPOSITORY "https://git.example.org/mirror/${name}.git"
    GIT_TAG ${tag}
    GIT_SHALLOW TRUE
    UPDATE_DISCONNECTED TRUE
    DEPENDS ${depends}
    CMAKE_ARGS ${common_arguments} ${extra}
    BUILD_BYPRODUCTS "${PREFIX}/${CMAKE_INSTALL_LIBDIR}/lib${name}.a"
    USES_TERMINAL_DOWNLOAD TRUE
    LOG_CONFIGURE ON LOG_BUILD ON LOG_OUTPUT_ON_FAILURE ON)
endforeach()

add_custom_target(image
  COMMAND ${CMAKE_COMMAND} -E tar czf "${CMAKE_BINARY_DIR}/station-${CMAKE_SYSTEM_PROCESSOR}.tgz" .
  WORKING_DIRECTORY "${PREFIX}"
  DEPENDS station
  COMMENT "Packing the image")
