package main

import (
	"encoding/json"
	"fmt"
	"strings"
)

// message is what a template sees of one message.
type message struct {
	Role       string
	Content    string
	Thinking   string
	Images     [][]byte
	ToolCalls  []toolCall
	ToolName   string
	ToolCallID string
}

func (m *message) UnmarshalJSON(data []byte) error {
	var wire struct {
		Role      string   `json:"role"`
		Content   string   `json:"content"`
		Thinking  string   `json:"thinking"`
		Images    [][]byte `json:"images"`
		ToolCalls []struct {
			ID       string `json:"id"`
			Function struct {
				Index     int         `json:"index"`
				Name      string      `json:"name"`
				Arguments printedArgs `json:"arguments"`
			} `json:"function"`
		} `json:"tool_calls"`
		ToolName   string `json:"tool_name"`
		ToolCallID string `json:"tool_call_id"`
	}
	if err := json.Unmarshal(data, &wire); err != nil {
		return err
	}
	*m = message{strings.ToLower(wire.Role), wire.Content, wire.Thinking, wire.Images, nil, wire.ToolName, wire.ToolCallID}
	for _, call := range wire.ToolCalls {
		m.ToolCalls = append(m.ToolCalls, toolCall{call.ID, calledFunction(call.Function)})
	}
	return nil
}

type toolCall struct {
	ID       string
	Function calledFunction
}

type calledFunction struct {
	Index     int
	Name      string
	Arguments printedArgs
}

// printedArgs prints as JSON.
type printedArgs map[string]any

func (a printedArgs) String() string {
	if a == nil {
		return "{}"
	}
	return asJSON(a)
}

// toolList, tool and toolProperties print as JSON and can be ranged over.
type toolList []tool

func (t toolList) String() string { return asJSON(t) }

type tool struct {
	Type     string `json:"type"`
	Items    any    `json:"items,omitempty"`
	Function struct {
		Name        string `json:"name"`
		Description string `json:"description"`
		Parameters  struct {
			Type       string         `json:"type"`
			Defs       any            `json:"$defs,omitempty"`
			Items      any            `json:"items,omitempty"`
			Required   []string       `json:"required,omitempty"`
			Properties toolProperties `json:"properties"`
		} `json:"parameters"`
	} `json:"function"`
}

func (t tool) String() string { return asJSON(t) }

type toolProperties map[string]toolProperty

func (t toolProperties) String() string {
	if t == nil {
		return "{}"
	}
	return asJSON(t)
}

type toolProperty struct {
	AnyOf       []toolProperty `json:"anyOf,omitempty"`
	Type        propertyType   `json:"type,omitempty"`
	Items       any            `json:"items,omitempty"`
	Description string         `json:"description,omitempty"`
	Enum        []any          `json:"enum,omitempty"`
	Properties  toolProperties `json:"properties,omitempty"`
	Required    []string       `json:"required,omitempty"`
}

// propertyType is one type or several; one prints alone.
type propertyType []string

func (p *propertyType) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*p = propertyType{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(p))
}

func (p propertyType) MarshalJSON() ([]byte, error) {
	if len(p) == 1 {
		return json.Marshal(p[0])
	}
	return json.Marshal([]string(p))
}

func (p propertyType) String() string {
	switch len(p) {
	case 0:
		return ""
	case 1:
		return p[0]
	}
	return fmt.Sprintf("%v", []string(p))
}

var typeScriptNames = map[string]string{
	"string": "string", "number": "number", "integer": "number", "boolean": "boolean",
	"array": "any[]", "object": "Record<string, any>", "null": "null",
}

func typeScript(v any) string {
	property, ok := v.(toolProperty)
	if !ok {
		return "any"
	}
	var names []string
	for _, choice := range property.AnyOf {
		names = append(names, typeScript(choice))
	}
	if len(names) == 0 {
		for _, name := range property.Type {
			if known, ok := typeScriptNames[name]; ok {
				names = append(names, known)
			} else {
				names = append(names, "any")
			}
		}
	}
	if len(names) == 0 {
		return "any"
	}
	return strings.Join(names, " | ")
}

// collate joins the system messages and merges neighbours of the same role (but tools) with a blank line between.
func collate(messages []message) (string, []*message) {
	var system []string
	var merged []*message
	for i := range messages {
		m := &messages[i]
		if m.Role == "system" {
			system = append(system, m.Content)
		}
		if n := len(merged); n > 0 && merged[n-1].Role == m.Role && m.Role != "tool" {
			merged[n-1].Content += "\n\n" + m.Content
		} else {
			merged = append(merged, m)
		}
	}
	return strings.Join(system, "\n\n"), merged
}
