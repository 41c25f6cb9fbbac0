include_guard(GLOBAL)

# embed_resources(<target> [NAMESPACE <name>] [BASE <folder>] FILES <file>...)
#
# Compiles files into the target as byte arrays; <name>_resources.h declares
#   const struct name_resource *name_find(const char *path);
function(embed_resources target)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "" "NAMESPACE;BASE" "FILES")
  if(ARG_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "embed_resources: unknown arguments: ${ARG_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT TARGET ${target})
    message(FATAL_ERROR "embed_resources: ${target} is not a target")
  endif()
  if(NOT ARG_NAMESPACE)
    string(MAKE_C_IDENTIFIER "${target}" ARG_NAMESPACE)
  endif()
  if(NOT ARG_BASE)
    set(ARG_BASE "${CMAKE_CURRENT_SOURCE_DIR}")
  endif()

  set(folder "${CMAKE_CURRENT_BINARY_DIR}/embedded")
  set(table "")
  set(sources "")
  foreach(file IN LISTS ARG_FILES)
    get_filename_component(absolute "${file}" ABSOLUTE BASE_DIR "${ARG_BASE}")
    file(RELATIVE_PATH relative "${ARG_BASE}" "${absolute}")
    string(MAKE_C_IDENTIFIER "${ARG_NAMESPACE}_${relative}" symbol)
    set(output "${folder}/${symbol}.c")
    add_custom_command(
      OUTPUT "${output}"
      COMMAND ${CMAKE_COMMAND} -DINPUT=${absolute} -DOUTPUT=${output} -DSYMBOL=${symbol}
              -P "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/EmbedOne.cmake"
      DEPENDS "${absolute}" "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/EmbedOne.cmake"
      COMMENT "Embedding ${relative}"
      VERBATIM)
    list(APPEND sources "${output}")
    string(APPEND table "    {\"${relative}\", ${symbol}, &${symbol}_size},\n")
  endforeach()

  list(LENGTH sources RESOURCE_COUNT)
  set(RESOURCE_TABLE "${table}")
  set(RESOURCE_NAMESPACE "${ARG_NAMESPACE}")
  foreach(kind h c)
    configure_file("${CMAKE_CURRENT_FUNCTION_LIST_DIR}/resources.${kind}.in"
                   "${folder}/${ARG_NAMESPACE}_resources.${kind}" @ONLY)
  endforeach()

  target_sources(${target} PRIVATE ${sources} "${folder}/${ARG_NAMESPACE}_resources.c")
  target_include_directories(${target} PRIVATE "${folder}")
  set_property(TARGET ${target} APPEND PROPERTY ADDITIONAL_CLEAN_FILES "${folder}")
endfunction()
