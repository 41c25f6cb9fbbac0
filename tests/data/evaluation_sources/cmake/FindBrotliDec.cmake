#[=======================================================================[.rst:
FindBrotliDec
-------------

Finds the Brotli decoder.

Imported targets
^^^^^^^^^^^^^^^^

``Brotli::decoder``
  The decoder, if found.

Result variables
^^^^^^^^^^^^^^^^

``BrotliDec_FOUND``, ``BrotliDec_VERSION``
#]=======================================================================]

find_package(PkgConfig QUIET)
if(PkgConfig_FOUND)
  pkg_check_modules(PC_BROTLI QUIET libbrotlidec)
endif()

find_path(BrotliDec_INCLUDE_DIR
  NAMES brotli/decode.h
  HINTS ${PC_BROTLI_INCLUDE_DIRS}
  PATH_SUFFIXES include)
find_library(BrotliDec_LIBRARY NAMES brotlidec brotlidec-static HINTS ${PC_BROTLI_LIBRARY_DIRS})
find_library(BrotliDec_COMMON_LIBRARY NAMES brotlicommon brotlicommon-static HINTS ${PC_BROTLI_LIBRARY_DIRS})

if(PC_BROTLI_VERSION)
  set(BrotliDec_VERSION "${PC_BROTLI_VERSION}")
elseif(BrotliDec_INCLUDE_DIR AND EXISTS "${BrotliDec_INCLUDE_DIR}/brotli/version.h")
  file(STRINGS "${BrotliDec_INCLUDE_DIR}/brotli/version.h" _line REGEX "#define BROTLI_VERSION +0x")
  string(REGEX REPLACE ".*(0x[0-9A-Fa-f]+).*" "\\1" BrotliDec_VERSION "${_line}")
  unset(_line)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(BrotliDec
  REQUIRED_VARS BrotliDec_LIBRARY BrotliDec_COMMON_LIBRARY BrotliDec_INCLUDE_DIR
  VERSION_VAR BrotliDec_VERSION)

if(BrotliDec_FOUND AND NOT TARGET Brotli::decoder)
  add_library(Brotli::common UNKNOWN IMPORTED)
  set_target_properties(Brotli::common PROPERTIES IMPORTED_LOCATION "${BrotliDec_COMMON_LIBRARY}")
  add_library(Brotli::decoder UNKNOWN IMPORTED)
  set_target_properties(Brotli::decoder PROPERTIES
    IMPORTED_LOCATION "${BrotliDec_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${BrotliDec_INCLUDE_DIR}"
    INTERFACE_LINK_LIBRARIES Brotli::common)
endif()

mark_as_advanced(BrotliDec_INCLUDE_DIR BrotliDec_LIBRARY BrotliDec_COMMON_LIBRARY)
