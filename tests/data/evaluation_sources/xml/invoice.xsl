<?xml version="1.0" encoding="UTF-8"?>
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform" xmlns:i="urn:example:invoice" exclude-result-prefixes="i">
  <xsl:output method="html" indent="yes" encoding="UTF-8"/>
  <xsl:param name="currency" select="'EUR'"/>
  <xsl:decimal-format name="de" decimal-separator="," grouping-separator="."/>
  <xsl:key name="vat" match="i:line" use="@vat"/>

  <xsl:template match="/i:invoice">
    <html>
      <head><title>Invoice <xsl:value-of select="@number"/></title></head>
      <body>
        <h1>Invoice <xsl:value-of select="@number"/></h1>
        <xsl:apply-templates select="i:customer"/>
        <table>
          <xsl:apply-templates select="i:line">
            <xsl:sort select="@position" data-type="number"/>
          </xsl:apply-templates>
          <xsl:for-each select="i:line[generate-id() = generate-id(key('vat', @vat)[1])]">
            <tr class="vat">
              <td colspan="3">VAT <xsl:value-of select="@vat"/>&#160;%</td>
              <td><xsl:value-of select="format-number(sum(key('vat', @vat)/@net) * @vat div 100, '#.##0,00', 'de')"/></td>
            </tr>
          </xsl:for-each>
        </table>
        <xsl:if test="@due"><p>Payable until <xsl:value-of select="@due"/>.</p></xsl:if>
      </body>
    </html>
  </xsl:template>

  <xsl:template match="i:line">
    <tr>
      <xsl:if test="position() mod 2 = 0"><xsl:attribute name="class">even</xsl:attribute></xsl:if>
      <td><xsl:value-of select="@position"/></td>
      <td><xsl:value-of select="normalize-space(.)"/></td>
      <td><xsl:value-of select="@quantity"/></td>
      <td><xsl:value-of select="concat(format-number(@net, '#.##0,00', 'de'), ' ', $currency)"/></td>
    </tr>
  </xsl:template>

  <xsl:template match="i:customer"><address><xsl:value-of select="."/></address></xsl:template>
</xsl:stylesheet>
